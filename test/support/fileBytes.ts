// Safetensors files byte by byte, with element types that the library reads and does not write.

/** A tensor as it lies in a file. */
export interface Stored {
  dtype: string;
  shape: number[];
  bytes: Uint8Array;
}

/** The bytes of a safetensors file, written by hand. */
export function fileOf(tensors: Record<string, Stored>): Uint8Array {
  let at = 0;
  const header = Object.fromEntries(
    Object.entries(tensors).map(([name, { dtype, shape, bytes }]) => {
      const begin = at;
      at += bytes.length;
      return [name, { dtype, shape, data_offsets: [begin, at] }];
    }),
  );
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([length, json, ...Object.values(tensors).map(({ bytes }) => bytes)]);
}
