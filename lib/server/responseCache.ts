// Answers of /v1/responses that can be asked for again: in memory, so many bytes of them.

interface Kept {
  owner: string;
  body: string;
}

/** Keeps the latest answers by their ids, each for the key that asked for it. */
export class ResponseCache {
  private readonly kept = new Map<string, Kept>();
  private bytes = 0;

  constructor(private readonly maxBytes: number) {}

  set(id: string, owner: string, body: string): void {
    this.delete(id, owner);
    if (body.length > this.maxBytes) return;
    this.kept.set(id, { owner, body });
    this.bytes += body.length;
    for (const [oldest, { owner: its }] of this.kept) {
      if (this.bytes <= this.maxBytes) break;
      this.delete(oldest, its);
    }
  }

  get(id: string, owner: string): string | undefined {
    const kept = this.kept.get(id);
    return kept?.owner === owner ? kept.body : undefined;
  }

  delete(id: string, owner: string): boolean {
    const kept = this.kept.get(id);
    if (kept?.owner !== owner) return false;
    this.kept.delete(id);
    this.bytes -= kept.body.length;
    return true;
  }
}
