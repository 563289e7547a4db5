// The cards of a CUDA addon: listed as the driver lists them, each opened when it is first used.
import { cardName, type CardDevice } from './names';
import { type CardFacts, type CudaAddon, CudaBackend } from './cuda';

/** One card, and what became of the wish to use it: it may be listed and refuse. */
interface Opened {
  readonly facts: CardFacts;
  readonly backend: CudaBackend | null;
}

export class Cards {
  private readonly listed: readonly CardFacts[];
  private readonly opened = new Map<number, Opened>();

  /** `kind` is the device of the first one. */
  constructor(
    private readonly addon: CudaAddon,
    private readonly kind: CardDevice,
  ) {
    this.listed = addon.cards();
  }

  /** Why there is none at all. */
  get reason(): string | undefined {
    return this.listed.length > 1 ? undefined : this.listed[0].reason;
  }

  /** Every card, or one that says why there is none. What is not in use yet was not asked for a context. */
  facts(): CardFacts[] {
    return this.listed.map((listed, at) => this.opened.get(at)?.facts ?? listed);
  }

  /** The backend of a card, or null; `facts` then says why, if there is such a card. */
  backend(at: number): CudaBackend | null {
    if (at >= this.listed.length) return null;
    let known = this.opened.get(at);
    if (!known) this.opened.set(at, (known = this.open(at)));
    return known.backend;
  }

  /** Those that are in use. */
  backends(): CudaBackend[] {
    return [...this.opened.values()].flatMap(({ backend }) => (backend ? [backend] : []));
  }

  private open(at: number): Opened {
    const facts = this.addon.card(at);
    if (facts.reason !== undefined) return { facts, backend: null };
    const addon = at === 0 ? this.addon : this.addon.open(at);
    return { facts, backend: new CudaBackend(addon, at, cardName(this.kind, at), facts, this.addon) };
  }
}
