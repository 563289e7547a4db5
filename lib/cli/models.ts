// `models`: the families that `train --model` takes, how large they are by default, and the rules.
import { Command } from 'commander';
import { inspectDevices } from '../backends';
import { scope } from '../core';
import { tensorsOf } from '../inference';
import { createModel, type ModelFamily, modelFamilies } from '../models';
import { withBlankWeights } from '../nn';
import { RULE_DESCRIPTIONS, ruleNames } from '../rules';
import { formatCount, table } from '../viz';
import { addImportOption } from './imports';

/** Of a model for bytes, with the sizes that `createModel` fills in. */
const VOCABULARY = 256;

interface FamilyReport {
  name: string;
  modelType: string;
  description: string;
  parameters: number;
  /** Numbers that a text of any length is remembered in; null where keys and values of tokens are kept. */
  state: number | null;
}

interface ModelsReport {
  families: FamilyReport[];
  rules: string[];
  /** What the library's own rules are, with their sources, by name. */
  ruleDescriptions: Readonly<Record<string, string>>;
  devices: string[];
}

export function modelsCommand(): Command {
  const command = new Command('models')
    .description('Lists the families of models with their sizes, and the rules, with their sources.')
    .option('--json', 'print everything as JSON');
  return addImportOption(command)
    .addHelpText(
      'after',
      '\nSizes are those of a new model for bytes: its parameters, and the numbers that a text of any length is remembered in,\nor `cache` where keys and values are kept, of the whole text or of a window.',
    )
    .action((options: { json?: boolean }) => {
      const report = collect();
      console.log(options.json ? JSON.stringify(report, null, 2) : render(report));
    });
}

/** A state that is empty at first keeps what comes. */
function sizesOf({ name, modelType, description }: ModelFamily): FamilyReport {
  return scope(() => {
    using model = withBlankWeights(() => createModel(name, { vocabSize: VOCABULARY, device: 'js' }));
    const state = tensorsOf(model.initialState(1));
    const size = state.reduce((sum, t) => sum + t.size, 0);
    const keeps = state.some((t) => t.size === 0);
    return { name, modelType, description, parameters: model.parameterCount, state: keeps ? null : size };
  });
}

function collect(): ModelsReport {
  const devices = inspectDevices().flatMap(({ device, available }) => (available ? [device] : []));
  return { families: modelFamilies.map(sizesOf), rules: ruleNames(), ruleDescriptions: RULE_DESCRIPTIONS, devices };
}

function render({ families, rules, ruleDescriptions, devices }: ModelsReport): string {
  const rows = families.map(({ name, description, parameters, state }) => [
    name,
    formatCount(parameters),
    state === null ? 'cache' : formatCount(state),
    description,
  ]);
  return [
    table(['model', 'parameters', 'state', 'what it is'], rows),
    '',
    table(
      ['rule', 'what it is'],
      rules.map((name) => [name, ruleDescriptions[name] ?? '']),
    ),
    '',
    `devices  ${devices.join(', ')}: every family and every rule on each`,
  ].join('\n');
}
