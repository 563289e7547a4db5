// The ids that a session has read, call by call: 4 bytes for each token.

/** Ids of the calls, [B, T] each in row-major order; the first id of a call is stored as ~id, which is negative. */
interface Log {
  ids: Int32Array;
  used: number;
}

/** Values that share one log as far as they agree: a snapshot costs no copy. */
export class History {
  private constructor(
    private readonly log: Log,
    private readonly end: number,
  ) {}

  static empty(): History {
    return new History({ ids: new Int32Array(16), used: 0 }, 0);
  }

  /** Of ids as `marked` gives them. */
  static of(marked: Int32Array): History {
    return new History({ ids: marked, used: marked.length }, marked.length);
  }

  /** Ids with the marks of calls. */
  get marked(): Int32Array {
    return this.log.ids.subarray(0, this.end);
  }

  /** Ids of one sequence without them. */
  get ids(): Int32Array {
    return this.marked.map((id) => (id < 0 ? ~id : id));
  }

  /** With one more call. */
  append(ids: Int32Array): History {
    const { end } = this;
    const free = this.log.used === end;
    const log = free ? this.log : { ids: this.marked.slice(), used: end };
    const needed = end + ids.length;
    if (needed > log.ids.length) {
      const larger = new Int32Array(Math.max(needed, Math.ceil(1.25 * log.ids.length)));
      larger.set(log.ids.subarray(0, end));
      log.ids = larger;
    }
    log.ids.set(ids, end);
    log.ids[end] = ~log.ids[end];
    log.used = needed;
    return new History(log, needed);
  }

  /** The calls that read the first `keep` tokens of each of `batch` sequences; the last one may be cut. */
  *calls(batch: number, keep: number): Generator<Int32Array> {
    const { marked } = this;
    let left = keep;
    for (let begin = 0; left > 0;) {
      let end = begin + 1;
      while (end < marked.length && marked[end] >= 0) end++;
      const ids = marked.slice(begin, end);
      ids[0] = ~ids[0];
      const T = ids.length / batch;
      yield left < T ? columns(ids, batch, 0, left) : ids;
      left -= T;
      begin = end;
    }
  }
}

/** ids [B, T] to [B, end - begin]. */
export function columns(ids: Int32Array, batch: number, begin: number, end: number): Int32Array {
  if (batch === 1) return ids.subarray(begin, end);
  const T = ids.length / batch;
  return ids.filter((_, i) => i % T >= begin && i % T < end);
}
