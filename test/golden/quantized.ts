// What quantised weights cost the models in and below a folder: the error of logits and the first greedy token that differs, as a
// table in Markdown. node --import=tsx test/golden/quantized.ts FOLDER
import { existsSync, readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import * as fw from '../../lib';
import { relativeRms } from '../support/tolerance';
import type { Model } from './checkpoint';

/** Tokens that are read, and tokens that are written after them. */
const [READ, WRITTEN] = [64, 64];
const FORMATS = ['bfloat16', 'int8'] as const;

interface Answers {
  logits: Float64Array;
  written: number[];
}

async function answersOf(dir: string, weights?: 'bfloat16' | 'int8'): Promise<Answers> {
  using model: Model = await fw.AutoModelForCausalLM.fromPretrained(dir, { weights });
  const ids = Array.from({ length: READ }, (_, i) => (i * i + 7 * i + 1) % model.vocabSize);
  const logits = fw.noGrad(() =>
    fw.scope(() => {
      const tokens = fw.tensor([ids], { dtype: 'int32', device: model.device });
      return Float64Array.from(model.forward(tokens).logits.dataSync());
    }),
  );
  const written: number[] = [];
  const greedy = { maxNewTokens: WRITTEN, temperature: 0, stopTokens: [] };
  for await (const { id } of model.generate(ids, greedy)) written.push(id);
  return { logits, written };
}

async function row(name: string, dir: string): Promise<string> {
  const whole = await answersOf(dir);
  const cells = [name];
  for (const format of FORMATS) {
    const { logits, written } = await answersOf(dir, format);
    const at = written.findIndex((id, i) => id !== whole.written[i]);
    cells.push(relativeRms(logits, whole.logits).toExponential(1), at < 0 ? `all ${WRITTEN}` : String(at));
  }
  return `| ${cells.join(' | ')} |`;
}

/** Folders of models in and below one, by name. */
function modelsBelow(folder: string, prefix = path.basename(folder)): [name: string, dir: string][] {
  if (existsSync(path.join(folder, 'config.json'))) return [[prefix, folder]];
  return readdirSync(folder)
    .sort()
    .map((entry) => [entry, path.join(folder, entry)] as const)
    .filter(([, dir]) => statSync(dir).isDirectory())
    .flatMap(([entry, dir]) => modelsBelow(dir, entry));
}

async function main(): Promise<void> {
  const [folder] = process.argv.slice(2);
  if (folder === undefined) throw new Error('usage: node --import=tsx test/golden/quantized.ts FOLDER');
  console.log(
    '| model | bfloat16: error of logits | greedy tokens alike | int8: error of logits | greedy tokens alike |',
  );
  console.log('| --- | --- | --- | --- | --- |');
  for (const [name, dir] of modelsBelow(path.resolve(folder))) console.log(await row(name, dir));
}

void main();
