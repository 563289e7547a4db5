// What tells the weights of a folder from others, without reading all of them.
import { join, open, readdir, sha256 } from '../../platform';

/** Pieces of a file that are looked at, beside its first bytes. */
const PIECES = 64;
const [FIRST, EACH] = [2 ** 20, 4096];

/** Of the sizes of the weight files, their headers and pieces all over them: copies of a folder have the same one. */
export async function fingerprint(folder: string, ...settings: readonly (string | undefined)[]): Promise<string> {
  const hash = sha256();
  const text = (value: unknown): void => hash.update(new TextEncoder().encode(`${JSON.stringify(value)}\n`));
  text(settings.map((setting) => setting ?? null));
  const names = (await readdir(folder)).filter((name) => name.endsWith('.safetensors')).sort();
  for (const name of names) {
    const file = await open(join(folder, name), 'r');
    try {
      const { size } = await file.stat();
      text([name, size]);
      for (let piece = 0; piece <= PIECES; piece++) {
        const bytes = new Uint8Array(piece === 0 ? FIRST : EACH);
        const at = piece === 0 ? 0 : Math.floor((size / PIECES) * (piece - 1));
        const { bytesRead } = await file.read(bytes, 0, bytes.length, at);
        hash.update(bytes.subarray(0, bytesRead));
      }
    } finally {
      await file.close();
    }
  }
  return hash.hex().slice(0, 16);
}
