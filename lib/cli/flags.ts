// Flags that could do nothing are refused by name: a table for each command says in which cases each of them acts.
import type { Command } from 'commander';
import { FastWeightsError } from '../core';

/** The command line was used wrongly. */
export class UsageError extends Error {}

/** In which cases each option acts; it is refused in the others. */
export type Acts<Options, Case extends string> = { readonly [Name in keyof Required<Options>]: readonly Case[] };

/** Refuses options that were given and do not act in `present`. `phrases` name the cases: `with --text`. */
export function checkFlags<Case extends string>(
  command: Command,
  acts: Readonly<Record<string, readonly Case[]>>,
  present: Case,
  phrases: Readonly<Partial<Record<Case, string>>>,
): void {
  for (const option of command.options) {
    const name = option.attributeName();
    if (command.getOptionValueSource(name) !== 'cli' || acts[name].includes(present)) continue;
    const others = acts[name].flatMap((one) => phrases[one] ?? []).join(' or ');
    throw new UsageError(`${option.long} cannot be given ${phrases[present]}, only ${others}`);
  }
}

/** What the library refuses of its options is refused of the flags that gave them. */
export function namingFlags<T>(command: Command, act: () => T): T {
  try {
    return act();
  } catch (error) {
    const { argument, expected, found } = error instanceof FastWeightsError ? error : {};
    const name = argument?.replace(/\[.*/, '');
    const flag = command.options.find((option) => option.attributeName() === name);
    if (!flag || expected === undefined) throw error;
    throw new UsageError(`${flag.long} must be ${expected}, got ${found}`);
  }
}
