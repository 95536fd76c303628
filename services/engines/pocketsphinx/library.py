"""The C library inside the pocketsphinx wheel, its functions with their types.

The wheel's Python API holds the GIL while it decodes, and its package imports a sound card's driver; its extension
module also exports the whole C API, which `ctypes` calls without either. So the package is found, and never imported.
"""

import ctypes
import importlib.util
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

_INT, _SIZE, _FLOAT, _DOUBLE = ctypes.c_int, ctypes.c_size_t, ctypes.c_float, ctypes.c_double
_TEXT, _POINTER = ctypes.c_char_p, ctypes.c_void_p
_INT_OUT = ctypes.POINTER(ctypes.c_int32)

_SIGNATURES: dict[str, tuple[type | None, ...]] = {  # what it returns, what it takes
    # the decoder; ps_init takes a reference of its own to the configuration
    "ps_config_parse_json": (_POINTER, _POINTER, _TEXT),
    "ps_config_set_bool": (_POINTER, _POINTER, _TEXT, _INT),
    "ps_config_free": (_INT, _POINTER),
    "ps_init": (_POINTER, _POINTER),
    "ps_free": (_INT, _POINTER),
    "ps_get_logmath": (_POINTER, _POINTER),  # borrowed
    "logmath_exp": (_DOUBLE, _POINTER, _INT),
    # searches, by name
    "ps_add_fsg": (_INT, _POINTER, _TEXT, _POINTER),
    "ps_add_kws": (_INT, _POINTER, _TEXT, _TEXT),
    "ps_activate_search": (_INT, _POINTER, _TEXT),
    "ps_remove_search": (_INT, _POINTER, _TEXT),
    # a finite-state grammar; the search has a reference of its own
    "fsg_model_readfile": (_POINTER, _TEXT, _POINTER, _FLOAT),
    "fsg_model_free": (_INT, _POINTER),
    # an utterance
    "ps_start_stream": (_INT, _POINTER),
    "ps_start_utt": (_INT, _POINTER),
    "ps_process_raw": (_INT, _POINTER, _POINTER, _SIZE, _INT, _INT),
    "ps_end_utt": (_INT, _POINTER),
    "ps_get_hyp": (_TEXT, _POINTER, _INT_OUT),  # borrowed
    "ps_get_n_frames": (_INT, _POINTER),
    # its segments; the last `next` frees the iterator
    "ps_seg_iter": (_POINTER, _POINTER),
    "ps_seg_next": (_POINTER, _POINTER),
    "ps_seg_word": (_TEXT, _POINTER),
    "ps_seg_frames": (None, _POINTER, ctypes.POINTER(_INT), ctypes.POINTER(_INT)),
    "ps_seg_prob": (ctypes.c_int32, _POINTER, _INT_OUT, _INT_OUT, _INT_OUT),
    # other hypotheses; a `next` that finds none frees the iterator
    "ps_nbest": (_POINTER, _POINTER),
    "ps_nbest_next": (_POINTER, _POINTER),
    "ps_nbest_hyp": (_TEXT, _POINTER, _INT_OUT),  # borrowed from the iterator
    "ps_nbest_free": (None, _POINTER),
}


def open_library() -> ctypes.CDLL:
    """The library with its functions typed; opening it again costs nothing.

    Raises:
        RuntimeError: the wheel is not installed, or is built so that it exports no C API (on Windows).
    """
    library = ctypes.CDLL(str(_extension()))
    for name, (returned, *taken) in _SIGNATURES.items():
        try:
            function = getattr(library, name)
        except AttributeError:
            raise RuntimeError(f"this build of pocketsphinx does not export {name}; use its Linux wheel") from None
        function.restype, function.argtypes = returned, taken
    return library


def _extension() -> Path:
    """The file of the extension module; looking for a package that is at the top does not run it."""
    spec = importlib.util.find_spec("pocketsphinx")
    folders = spec.submodule_search_locations if spec else None
    files = [Path(folder) / f"_pocketsphinx{suffix}" for folder in folders or () for suffix in EXTENSION_SUFFIXES]
    for file in files:
        if file.is_file():
            return file
    raise RuntimeError("pocketsphinx is not installed; run: pip install 'chorale[asr]'")
