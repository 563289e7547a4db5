// A minimal PNG writer: 8-bit RGBA, one IDAT chunk, no interlacing (PNG specification, sections 5, 9 and 11).
import { deflate } from '../platform';
import { argumentError, checkInteger, checkNumbers } from '../core';

const SIGNATURE = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);
const RGBA = 6;

const crcTable = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let bit = 0; bit < 8; bit++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
  return c;
});

function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = crcTable[(crc ^ byte) & 0xff] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

function chunk(type: string, body: Uint8Array): Uint8Array {
  const out = new Uint8Array(12 + body.length);
  const view = new DataView(out.buffer);
  view.setUint32(0, body.length);
  out.set(new TextEncoder().encode(type), 4);
  out.set(body, 8);
  view.setUint32(8 + body.length, crc32(out.subarray(4, 8 + body.length)));
  return out;
}

/** Encodes pixels [height, width, 4]. */
export function encodePng(width: number, height: number, rgba: Uint8Array): Uint8Array {
  checkInteger('encodePng', 'width', width, 1, 2 ** 31 - 1);
  checkInteger('encodePng', 'height', height, 1, 2 ** 31 - 1);
  checkNumbers('encodePng', 'rgba', rgba);
  if (rgba.length !== width * height * 4) {
    throw argumentError('SHAPE', 'encodePng', 'rgba', `${width} x ${height} x 4 bytes`, `${rgba.length}`);
  }
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header.set([8, RGBA], 8);
  const stride = width * 4;
  // Each scan line begins with its filter type, 0: none.
  const lines = new Uint8Array(height * (stride + 1));
  for (let y = 0; y < height; y++) lines.set(rgba.subarray(y * stride, (y + 1) * stride), y * (stride + 1) + 1);
  const parts = [SIGNATURE, chunk('IHDR', header), chunk('IDAT', deflate(lines)), chunk('IEND', new Uint8Array(0))];
  const png = new Uint8Array(parts.reduce((n, part) => n + part.length, 0));
  let at = 0;
  for (const part of parts) {
    png.set(part, at);
    at += part.length;
  }
  return png;
}
