// SPDX-License-Identifier: AGPL-3.0-or-later
// A short alarm: two tones from the device itself, no file to load. Browsers allow sound only after a first touch.
let audio = null;

addEventListener("pointerdown", () => {
  audio ??= new AudioContext();
  if (audio.state === "suspended") audio.resume();
});

export function alarm() {
  navigator.vibrate?.([300, 120, 300, 120, 300]);
  if (audio?.state !== "running") return false;
  for (const [after, pitch] of [[0, 880], [0.25, 660], [0.5, 880], [0.75, 660]]) {
    const tone = audio.createOscillator();
    const volume = audio.createGain();
    tone.frequency.value = pitch;
    volume.gain.setValueAtTime(0.25, audio.currentTime + after);
    volume.gain.exponentialRampToValueAtTime(0.001, audio.currentTime + after + 0.22);
    tone.connect(volume).connect(audio.destination);
    tone.start(audio.currentTime + after);
    tone.stop(audio.currentTime + after + 0.23);
  }
  return true;
}
