// The states before the last few tokens, to go back to one of them without reading anything again.
import type { Memory } from './memory';

export class RollbackWindow {
  /** Each of fewer tokens than the next one. */
  private states: Memory[] = [];

  constructor(
    /** So many tokens back. */
    private readonly tokens: number,
  ) {}

  /** Takes over the state before something is read. */
  keep(state: Memory): void {
    this.cut(state.tokens);
    this.states.push(state);
  }

  /** Frees what is farther back than the window reaches, when there are so many tokens. */
  moveTo(tokens: number): void {
    while (this.states.length > 0 && this.states[0].tokens < tokens - this.tokens) this.states.shift()!.dispose();
  }

  /** The state of so many tokens, and no window behind it; null where there is none. */
  takeBack(tokens: number): Memory | null {
    const state = this.states.find((each) => each.tokens === tokens);
    if (!state) return null;
    this.states = this.states.filter((each) => each !== state);
    this.cut(tokens);
    return state;
  }

  /** Another window on the same states. */
  copy(where: string): RollbackWindow {
    const copy = new RollbackWindow(this.tokens);
    copy.states = this.states.map((each) => each.copy(where));
    return copy;
  }

  dispose(): void {
    this.cut(0);
  }

  /** Frees the states of so many tokens and more. */
  private cut(tokens: number): void {
    while (this.states.length > 0 && this.states.at(-1)!.tokens >= tokens) this.states.pop()!.dispose();
  }
}
