// Numbers on their way into a page: rows of 16-bit integers with a scale each, in base64.
import { base64 } from '../../platform';

/** Rows as the script of the page unpacks them. */
export interface Packed {
  /** Largest magnitude of each row, float32. */
  scales: string;
  /** Entries as multiples of scale / 32767. */
  entries: string;
}

const LARGEST = 32767;

/** Rows of any lengths, one after the other; what is not finite becomes 0. */
export function packRows(rows: readonly ArrayLike<number>[]): Packed {
  const scales = new DataView(new ArrayBuffer(4 * rows.length));
  const entries = new DataView(new ArrayBuffer(2 * rows.reduce((n, row) => n + row.length, 0)));
  let at = 0;
  rows.forEach((row, r) => {
    const values = Array.from(row, (x) => (Number.isFinite(x) ? x : 0));
    const scale = Math.fround(values.reduce((most, x) => Math.max(most, Math.abs(x)), 0));
    scales.setFloat32(4 * r, scale, true);
    for (const x of values) {
      entries.setInt16(
        at,
        scale > 0 ? Math.max(-LARGEST, Math.min(LARGEST, Math.round((x / scale) * LARGEST))) : 0,
        true,
      );
      at += 2;
    }
  });
  return { scales: base64(bytes(scales)), entries: base64(bytes(entries)) };
}

function bytes(view: DataView): Uint8Array {
  return new Uint8Array(view.buffer);
}
