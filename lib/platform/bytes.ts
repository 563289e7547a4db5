// What runtimes do with bytes.
const { createHash, randomBytes, timingSafeEqual } = process.getBuiltinModule('node:crypto');
const { deflateSync } = process.getBuiltinModule('node:zlib');

/** As zlib compresses most. */
export function deflate(bytes: Uint8Array): Uint8Array {
  return deflateSync(bytes, { level: 9 });
}

export function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64');
}

/** The same memory as what clients of services take for bytes. */
export function asBuffer({ buffer, byteOffset, length }: Uint8Array): Uint8Array {
  return Buffer.from(buffer, byteOffset, length);
}

/** Random lower-case hexadecimal digits, two for each byte. */
export function randomHex(bytes: number): string {
  return randomBytes(bytes).toString('hex');
}

/** SHA-256 of bytes that come piece by piece; `hex` is called once, at the end. */
export function sha256(): { update(bytes: Uint8Array): void; hex(): string } {
  const hash = createHash('sha256');
  return { update: (bytes) => void hash.update(bytes), hex: () => hash.digest('hex') };
}

/** Whether two hexadecimal texts are the same, in a time that depends on their lengths alone. */
export function sameHex(a: string, b: string): boolean {
  return a.length === b.length && timingSafeEqual(Buffer.from(a, 'latin1'), Buffer.from(b, 'latin1'));
}
