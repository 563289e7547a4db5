// Trained models of experiments: kept where they have a matrix memory, and looked into.
import { expect } from 'chai';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as fw from '../../lib';
import { EXPERIMENTS, type Experiment, inspectExperiment, runExperiment } from '../../lib/experiments';
import { tokenExample } from '../../lib/experiments/tokens';
import { parity } from '../../lib/data';
import { inspectReading, type Look } from '../../lib/inspect';
import type { CausalLM } from '../../lib/models';
import { expectRejection } from '../support/errors';
import { withFolder } from '../train/support';
import { fake } from './fake';

const DEVICE = { device: 'js' } as const;
const data = parity({ seed: 7, minLength: 6, maxLength: 6 });

/** Trials are families of models; 'training' doubles every weight. */
function families(...trials: fw.ModelName[]): Experiment {
  const model = (trial: string): CausalLM =>
    fw.createModel(trial as fw.ModelName, {
      vocabSize: data.vocabSize,
      hiddenSize: 8,
      numLayers: 1,
      numHeads: 2,
      ...DEVICE,
    });
  return {
    ...fake({ name: 'families' }),
    trials: () => trials,
    async run(trial, { seed, keep }) {
      using trained = fw.withSeed(seed, () => model(trial));
      fw.noGrad(() => trained.parameters().forEach((weight) => weight.mul_(2)));
      await keep(trained);
      return { seed };
    },
    example: (trial) => tokenExample(model(trial), data),
  };
}

describe('models of experiments', () => {
  it('are kept where they have a matrix memory, and read an example', () =>
    withFolder(async (folder) => {
      const experiment = families('lstm', 'deltanet', 'srwm');
      const { results } = await runExperiment(experiment, { folder, seeds: 2, ...DEVICE });
      const files = [undefined, 'model-2.safetensors', 'model-3.safetensors', undefined, 'model-5.safetensors'];
      expect(results.map(({ model }) => model).slice(0, 5)).to.eql(files);
      expect(existsSync(join(folder, 'model-1.safetensors'))).to.equal(false);
      const first = await inspectExperiment([experiment], folder, DEVICE);
      expect([first.trial, first.seed]).to.eql(['deltanet', 1]);
      expect(first.tokens).to.have.lengthOf(first.inspection.tokens);
      const found = await inspectExperiment([experiment], folder, { trial: 'srwm', seed: 2, head: 1, ...DEVICE });
      expect([found.experiment, found.trial, found.seed]).to.eql(['families', 'srwm', 2]);
      expect(found.inspection.memories.map(({ matrix }) => matrix)).to.eql(['W_y', 'W_q', 'W_k', 'w_b']);
      // The weights are those that were kept.
      const { model, reading } = experiment.example!('srwm', { seed: 2, quick: false, ...DEVICE });
      model.loadStateDict(await fw.loadSafetensors(join(folder, 'model-6.safetensors'), DEVICE));
      const tokens = found.tokens.length;
      const own = {
        name: 'own',
        model,
        tokens,
        slices: () => [{ tokens, read: (look: Look) => look(reading().read) }],
      };
      const { memories } = await inspectReading('test', own, [], { head: 1 });
      expect(found.inspection.memories[0].course.norm).to.eql(memories[0].course.norm);
      model.loadStateDict(experiment.example!('srwm', { seed: 2, quick: false, ...DEVICE }).model.stateDict());
      const before = await inspectReading('test', own, [], { head: 1 });
      expect(before.memories[0].course.norm).not.to.eql(memories[0].course.norm);
    }));

  it('are refused by name where there are none', () =>
    withFolder(async (folder) => {
      const experiment = families('lstm', 'deltanet');
      const without = fake() as unknown as Experiment;
      const all = [experiment, without];
      await runExperiment(experiment, { folder, ...DEVICE });
      const refused = (pattern: RegExp, options: object = {}): Promise<unknown> =>
        expectRejection('UNSUPPORTED', pattern, inspectExperiment(all, folder, { ...options, ...DEVICE }));
      await refused(/holds no model .* of lstm; those that there are: deltanet, seed 1$/, { trial: 'lstm' });
      await refused(/of any trial, seed 2; those that there are: deltanet, seed 1$/, { seed: 2 });
      const other = join(folder, 'other');
      await runExperiment(without, { folder: other, ...DEVICE });
      const { found, expected } = await expectRejection(
        'UNSUPPORTED',
        /fake keeps no matrix of fast weights; those that there are: families$/,
        inspectExperiment(all, other, DEVICE),
      );
      expect([found, expected]).to.eql(['fake', 'families']);
      writeFileSync(
        join(other, 'results.json'),
        readFileSync(join(folder, 'results.json'), 'utf8').replace('families', '?'),
      );
      await expectRejection('FORMAT', /holds no results of an experiment/, inspectExperiment(all, other, DEVICE));
    }));

  /** A trial of each experiment that has a matrix memory, and its rule. */
  const TRIALS: Record<string, [trial: string, rule: string]> = {
    parity: ['srwm', 'selfReferential'],
    'formal-languages': ['(aa)*: recurrent-delta', 'recurrentDelta'],
    'word-problems': ['S3, 2 steps, [-1,1]', 'deltaRule'],
    'code-execution': ['6 statements, 2 variables: delta (0,1)', 'deltaRule'],
    'list-ops': ['depth 3: delta (0,1)', 'deltaRule'],
    'associative-retrieval': ['update dpfp1 delta 20', 'deltaRule'],
    'few-shot': ['srwm: 3 ways, 1 shot', 'selfReferential'],
    'continual-learning': ['srwm: first task asked again', 'selfReferential'],
    maze: ['srwm', 'selfReferential'],
    painter: ['delta', 'ojaRule'],
  };

  it('can be looked into after each experiment that has an example', async () => {
    expect(EXPERIMENTS.filter(({ example }) => example).map(({ name }) => name)).to.eql(Object.keys(TRIALS));
    for (const { name, example } of EXPERIMENTS.filter((one) => one.example)) {
      const [trial, rule] = TRIALS[name];
      const { model, reading } = example!(trial, { seed: 1, quick: true, device: 'cpu' });
      const { tokens: texts, read } = fw.noGrad(reading);
      const tokens = texts.length;
      const options = { layer: 1, head: 1, limit: 0 };
      const { memories } = await inspectReading(
        'test',
        { name, model, tokens, slices: () => [{ tokens, read: (look: Look) => look(read) }] },
        [],
        options,
      );
      model.dispose();
      expect(memories[0].rule, name).to.equal(rule);
      for (const { writesPerToken, course } of memories) {
        expect(course.norm, name).to.have.lengthOf(tokens * writesPerToken + 1);
        expect(course.norm.at(-1), name).to.be.greaterThan(0);
      }
    }
  });
});
