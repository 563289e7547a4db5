#!/usr/bin/env node
// The command line. Standard output carries results, standard error progress and messages.
import { Command, CommanderError } from 'commander';
import '../ops';
import { compareCommand } from './compare';
import { demoCommand } from './demo';
import { doctorCommand } from './doctor';
import { evaluateCommand } from './evaluate';
import { experimentCommand } from './experiment';
import { UsageError } from './flags';
import { generateCommand } from './generate';
import { inspectCommand } from './inspect';
import { loadImports, requestedImports } from './imports';
import { endBy, mindingMessages, mindingResults, Stopped } from './interrupt';
import { modelsCommand } from './models';
import { serveCommand } from './serve';
import { trainCommand } from './train';
import { packageVersion } from '../platform';

const USAGE = 2;
const FAILURE = 1;

function program(): Command {
  const root = new Command('fast-weights')
    .description('Trains and runs Fast Weight Programmers: DeltaNet, linear attention and their relatives.')
    .version(packageVersion())
    .option('--debug', 'show where an error comes from')
    .addHelpText(
      'after',
      `\nExamples:\n  fast-weights demo\n  fast-weights train --text book.txt\n  fast-weights doctor`,
    );
  for (const command of [
    trainCommand(),
    compareCommand(),
    generateCommand(),
    evaluateCommand(),
    inspectCommand(),
    serveCommand(),
    modelsCommand(),
    doctorCommand(),
    demoCommand(),
    experimentCommand(),
  ]) {
    root.addCommand(command);
  }
  for (const command of [root, ...root.commands]) {
    command.exitOverride().configureOutput({ outputError: (text, write) => write(text) });
  }
  return root;
}

/** The exit code that an error asks for, its message printed. */
function explain(error: unknown, debug: boolean): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : USAGE;
  if (debug) console.error(error);
  else console.error(`error: ${error instanceof Error ? error.message : String(error)}`);
  return error instanceof UsageError ? USAGE : FAILURE;
}

async function main(): Promise<void> {
  mindingResults(process.stdout);
  mindingMessages(process.stderr);
  let root = program();
  try {
    await loadImports(await requestedImports(root, process.argv.slice(2)));
    // Of the models that there are now.
    root = program();
    await root.parseAsync();
  } catch (error) {
    if (error instanceof Stopped) {
      if (error.message !== '' && error.exitCode !== 0) console.error(error.message);
      return endBy(error.by);
    }
    process.exitCode = explain(error, root.opts<{ debug?: boolean }>().debug ?? false);
  }
}

void main();
