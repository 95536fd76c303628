// The microphone's sound to the server, a piece at a time, each once the one before it is answered; results to the page.
// Gradio gives `element`, this page's part, and `server`, the functions of live.py.

const PIECE = 100; // milliseconds

const TAP = `registerProcessor("tap", class extends AudioWorkletProcessor {
  process([[samples]]) { if (samples) this.port.postMessage(samples.slice()); return true; }
});`;

const part = (name) => element.querySelector(name);
const tell = (text) => { part(".state").textContent = text; };
const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

let speaking = false;

// Opens the microphone; `take` are the samples since the last time, as base64 of 16-bit integers.
async function listen() {
  if (!navigator.mediaDevices) throw new Error("browsers give it only to pages of https, or of this machine");
  const stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1 } });
  const context = new AudioContext();
  await context.resume();
  await context.audioWorklet.addModule(URL.createObjectURL(new Blob([TAP], { type: "text/javascript" })));
  const tap = new AudioWorkletNode(context, "tap", { numberOfOutputs: 0 });
  let held = [];
  tap.port.onmessage = ({ data }) => held.push(data);
  context.createMediaStreamSource(stream).connect(tap);
  return {
    rate: context.sampleRate,
    take: () => { const taken = held; held = []; return base64(taken); },
    close: () => { stream.getTracks().forEach((track) => track.stop()); return context.close(); },
  };
}

function base64(pieces) {
  const floats = pieces.flatMap((piece) => Array.from(piece));
  const samples = Int16Array.from(floats, (value) => 32767 * Math.max(-1, Math.min(1, value)));
  part("meter").value = Math.sqrt(floats.reduce((most, value) => Math.max(most, Math.abs(value)), 0));
  let text = "";
  for (const byte of new Uint8Array(samples.buffer)) text += String.fromCharCode(byte);
  return btoa(text);
}

function show({ results = [], error }) {
  for (const { text, start, final } of results) {
    part(".interim").textContent = final ? "" : text;
    if (final) {
      const line = document.createElement("p");
      const time = document.createElement("small");
      time.textContent = `${start.toFixed(1)} s `;
      line.append(time, text);
      part(".said").append(line);
    }
  }
  if (error) throw new Error(error);
}

async function talk(microphone) {
  const asked = { rate: microphone.rate, model: part("select").value, language: part("input").value.trim() };
  const { id, error } = await server.begin(asked);
  if (error) throw new Error(error);
  tell("Listening.");
  let over = false;
  while (speaking && !over) {
    await pause(PIECE);
    const news = await server.hear({ id, sound: microphone.take() });
    show(news);
    over = news.over;
  }
  await microphone.close();
  show(await server.end({ id }));
}

async function run() {
  speaking = true;
  part(".switch").textContent = "Stop";
  part(".said").replaceChildren();
  let microphone;
  try {
    microphone = await listen().catch((error) => { throw new Error(`No microphone: ${error.message}.`); });
    await talk(microphone);
    tell("That is all. Press Start to speak again.");
  } catch (error) {
    tell(error.message);
    await microphone?.close().catch(() => {}); // it may have been closed
  }
  speaking = false;
  part(".interim").textContent = "";
  part("meter").value = 0;
  part(".switch").textContent = "Start";
}

part(".switch").addEventListener("click", () => { if (speaking) speaking = false; else run(); });
