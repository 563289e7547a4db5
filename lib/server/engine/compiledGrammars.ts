// Compiled grammars that are kept, each for the owner who asked for it: nobody can tell by the time what others have had compiled.

/** So many, of all owners together. */
const MOST = 32;

export interface Disposable {
  dispose(): void;
}

interface Kept {
  readonly owner: string;
  readonly grammar: Promise<Disposable>;
  /** Requests that are yet to make something of it. */
  users: number;
}

/** Where there are too many one goes of the owner who has most, the one used least recently that nobody is about to use. */
export class CompiledGrammars {
  /** Least recently used first. */
  private readonly kept = new Map<string, Kept>();

  /** Has `work` done with a grammar, which is compiled where it is not kept; one that fails is not kept. */
  async use<T>(
    owner: string,
    name: string,
    compile: () => Promise<Disposable>,
    work: (grammar: Disposable) => Promise<T>,
  ): Promise<T> {
    const key = JSON.stringify([owner, name]);
    const kept = this.kept.get(key) ?? { owner, grammar: compile(), users: 0 };
    this.kept.delete(key);
    this.kept.set(key, kept);
    kept.users++;
    try {
      return await work(await kept.grammar);
    } catch (error) {
      if (this.kept.get(key) === kept) this.kept.delete(key);
      throw error;
    } finally {
      kept.users--;
      this.forget();
    }
  }

  /** Where what compiled them is no more. */
  clear(): void {
    this.kept.clear();
  }

  private forget(): void {
    while (this.kept.size > MOST) {
      const counts = new Map<string, number>();
      for (const { owner } of this.kept.values()) counts.set(owner, (counts.get(owner) ?? 0) + 1);
      const idle = [...this.kept].filter(([, { users }]) => users === 0);
      if (idle.length === 0) return;
      const [key, { grammar }] = idle.reduce((a, b) => (counts.get(b[1].owner)! > counts.get(a[1].owner)! ? b : a));
      this.kept.delete(key);
      grammar.then(
        (each) => each.dispose(),
        () => undefined,
      );
    }
  }
}
