// The levels of log-linear attention (Guo et al. 2025; spec 2.13.18): what was written before token t lies in one block for each
// bit of t, and each block in a state of its own.
import type { Tensor } from '../../core';

/** The level at which token t finds token s <= t: 0 itself, l a block of 2^(l - 1) tokens. */
export const levelOf = (t: number, s: number): number => 32 - Math.clz32(t ^ s);

/** How many levels the tokens up to t need. */
export const levelsAt = (t: number): number => 33 - Math.clz32(t);

/** Some tokens that are at one level together, for every token behind them. */
export interface Group {
  /** One of them. */
  member: number;
  /** What they have written [B, H, K, V]. */
  state: Tensor;
}

/** The states [B, H, L, K, V] after token t, apart: levels that hold nothing are left out. */
export function groupsIn(states: Tensor, t: number): Group[] {
  const groups: Group[] = [];
  for (let level = 0; level < levelsAt(t); level++) {
    const block = t >> (level - 1);
    if (level > 0 && (block & 1) === 0) continue;
    const member = level === 0 ? t : (block - 1) << (level - 1);
    groups.push({ member, state: states.slice(2, level, level + 1).squeeze(2) });
  }
  return groups;
}

/** Adds up groups that are at one level for token t, and so for every later one. */
export function merged(groups: readonly Group[], t: number): Group[] {
  const levels = new Map<number, Group>();
  for (const { member, state } of groups) {
    const level = levelOf(t, member);
    const found = levels.get(level);
    levels.set(level, { member, state: found ? found.state.add(state) : state });
  }
  return [...levels.values()];
}

/** Runs of the tokens first to last, each at one level for the last: [from, to) and the level. */
export function runsOf(first: number, last: number): { from: number; to: number }[] {
  const runs: { from: number; to: number }[] = [];
  for (let s = first; s <= last; s++) {
    const run = runs.at(-1);
    if (run && levelOf(last, run.from) === levelOf(last, s)) run.to = s + 1;
    else runs.push({ from: s, to: s + 1 });
  }
  return runs;
}
