// `--import`: modules of the user, which register models and rules before the command line is read in earnest.
import { type Command, CommanderError } from 'commander';
import { describe, FastWeightsError } from '../core';
import { AutoModelForCausalLM, type CausalLM, modelFamilies, type PretrainedOptions } from '../models';
import { existsSync, importFile, resolve } from '../platform';
import { ruleNames } from '../rules';
import { importHint, readTrainerState } from '../train';
import { UsageError } from './flags';
import { somePath } from './options';

export interface ImportOptions {
  import?: string[];
}

export function addImportOption(command: Command): Command {
  return command.option(
    '--import <file>',
    'a module of your own that registers models or rules, for example ./my-model.mjs; may be given several times',
    (path, before: string[] = []) => [...before, somePath(path)],
  );
}

/** The modules that were given, as a run remembers them. */
export function importsOf({ import: given }: ImportOptions): string[] | undefined {
  return given && [...new Set(given.map((path) => resolve(path)))];
}

/**
 * What a command line asks to import. Only its own parser knows what is an option and what is the value of another, so
 * it reads the line, with nothing done and nothing printed.
 */
export async function requestedImports(root: Command, args: readonly string[]): Promise<string[]> {
  if (!args.some((arg) => arg.startsWith('--import'))) return [];
  const silent = { writeOut: (): void => undefined, writeErr: (): void => undefined };
  for (const command of [root, ...root.commands]) command.exitOverride().configureOutput(silent);
  for (const command of root.commands) command.action(() => undefined);
  try {
    await root.parseAsync(args, { from: 'user' });
  } catch (error) {
    // The other reading says what is wrong, or prints the help with what was imported.
    if (!(error instanceof CommanderError) && !(error instanceof UsageError)) throw error;
  }
  return root.commands.flatMap((command) => importsOf(command.opts<ImportOptions>()) ?? []);
}

/** Loads modules, each of which must register something: it was given for that. */
export async function loadImports(paths: readonly string[]): Promise<void> {
  for (const path of paths) {
    const known = modelFamilies.length + ruleNames().length;
    try {
      if (!existsSync(path)) throw new Error('there is no such file');
      await importFile(path);
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : describe(cause);
      const remedy = cause instanceof SyntaxError ? '; node --check on the file says where' : '';
      const message = `--import ${path}: it cannot be loaded: ${reason}${remedy}`;
      throw new FastWeightsError('INVALID_ARGUMENT', message, { argument: 'import', found: path, cause });
    }
    if (modelFamilies.length + ruleNames().length > known) continue;
    const remedy = 'call registerModel or registerRule of the fast-weights whose command line this is';
    const message = `--import ${path}: it registers no model and no rule; ${remedy}`;
    throw new FastWeightsError('INVALID_ARGUMENT', message, { argument: 'import', found: path });
  }
}

/** The model of a folder; where its family is not known, the error says what its run was started with. */
export async function loadModel(dir: string, options: PretrainedOptions): Promise<CausalLM> {
  try {
    return await AutoModelForCausalLM.fromPretrained(dir, options);
  } catch (error) {
    if (!(error instanceof FastWeightsError) || error.argument !== 'model_type') throw error;
    const { code, message, argument, expected, found } = error;
    const hint = importHint(await rememberedImports(dir));
    throw new FastWeightsError(code, message + hint, { argument, expected, found, cause: error });
  }
}

/** Of the run that a checkpoint is from, if it is one of a run. */
async function rememberedImports(dir: string): Promise<string[]> {
  const state = await readTrainerState(dir).catch(() => null);
  const { imports } = (state?.config ?? {}) as { imports?: unknown };
  return Array.isArray(imports) ? imports.filter((path) => typeof path === 'string') : [];
}
