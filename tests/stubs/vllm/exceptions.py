class VLLMError(Exception):
    pass


class VLLMClientError(VLLMError):
    pass


class VLLMServerError(VLLMError):
    pass


class VLLMValidationError(VLLMClientError):
    pass


class GenerationError(VLLMServerError):
    pass


class RetryableRequestError(GenerationError):
    pass
