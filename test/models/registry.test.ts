// The registry: what a family is called, one table of it, and what it refuses. Own models are in test/cli/imports.test.ts.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import * as fw from '../../lib';
import { readJson, writeJson } from '../../lib/io';
import { checkRunConfig, withKnownModel } from '../../lib/train';
import { repository } from '../support/library';
import { expectError } from '../support/errors';
import { tinyConfig, withFolder } from '../train/support';

const { modelFamilies } = fw.models;
const sizes = { vocabSize: 7, hiddenSize: 8, numLayers: 1, numHeads: 2, intermediateSize: 8, device: 'js' } as const;

describe('the registry of models', () => {
  it('is the table of the README', () => {
    const rows = readFileSync(join(repository, 'README.md'), 'utf8').matchAll(
      /^\| `([\w.-]+)` +\| `(\w+)` +\| (.+?) +\|$/gm,
    );
    const expected = modelFamilies.map(({ name, modelType, description }) => [name, modelType, description]);
    expect([...rows].map(([, ...cells]) => cells)).to.deep.equal(expected);
  });

  for (const { name, modelType } of modelFamilies) {
    // Of families that share a type it names the first.
    const named = fw.models.findModel(modelType)?.name === name;
    it(`${name} and ${modelType} are one family, in programs, configurations, folders and runs`, async () => {
      const made = fw.createModel(name, sizes);
      if (named) expect(fw.createModel(modelType, sizes).config).to.deep.equal(made.config);
      expect(made.config.modelType).to.equal(modelType);
      const configured = fw.AutoModelForCausalLM.fromConfig({ ...made.config.source, model_type: name } as never);
      expect(configured.constructor).to.equal(made.constructor);
      expect(configured.config.modelType).to.equal(modelType);
      if (named) expect(made.config.architecture).to.equal(made.constructor.name);
      await withFolder(async (dir) => {
        const path = join(dir, 'config.json');
        await made.savePretrained(dir);
        await writeJson(path, { ...((await readJson(path)) as object), model_type: name });
        const loaded = await fw.AutoModelForCausalLM.fromPretrained(dir, { device: 'js' });
        await loaded.savePretrained(dir);
        expect(await readJson(path)).to.include({ model_type: modelType });
      });
      const run = tinyConfig();
      const config = checkRunConfig({ ...run, model: { ...run.model, name: modelType } }, 'run');
      if (named) expect(withKnownModel('run', config).model.name).to.equal(name);
    });
  }

  it('makes families without heads of widths that the usual number of heads does not divide', () => {
    for (const { name, heads } of modelFamilies) {
      const make = (): fw.models.CausalLM =>
        fw.createModel(name, { vocabSize: 7, hiddenSize: 10, numLayers: 1, device: 'js' });
      if (heads) expectError('INVALID_ARGUMENT', /numHeads must be a divisor of 10, got 4/, make);
    }
    fw.createModel('lstm', { vocabSize: 7, hiddenSize: 10, numLayers: 1, device: 'js' }).dispose();
  });

  it('says that a family has heads where its configuration is made of them', () => {
    for (const { name, heads } of modelFamilies) {
      const { configuration } = fw.models.findModel(name)!.definition;
      const made = [2, 4].map((numHeads) =>
        JSON.stringify(configuration?.({ ...sizes, hiddenSize: 64, feedForward: 8, numHeads, headDim: 64 / numHeads })),
      );
      if (made[0] !== made[1]) expect(heads, name).to.equal(true);
    }
    expect(modelFamilies.filter(({ heads }) => heads).map(({ name }) => name)).to.include.members(['yoco', 'samba']);
  });

  it('names the width of a feed-forward that is none, and takes null for the default', () => {
    for (const name of ['mom', 'samba', 'lstm'] as const) {
      const make = (intermediateSize: unknown): fw.models.CausalLM =>
        fw.createModel(name, { ...sizes, intermediateSize } as never);
      for (const wrong of [true, '8', -1, 0, 1.5, NaN, 2 ** 20 + 1]) {
        expectError('INVALID_ARGUMENT', /createModel: intermediateSize must be a whole number from 1 /, () =>
          make(wrong),
        );
      }
      expect(make(null).parameterCount, name).to.equal(make(undefined).parameterCount);
    }
  });

  it('rounds the feed-forward of Samba up, and names hidden_ratio where it leaves none', () => {
    for (const [asked, width] of [
      [1, 256],
      [256, 256],
      [257, 512],
      // 4096 in the arithmetic of a ratio to 88.
      [4097, 4352],
    ]) {
      const made = fw.createModel('samba', { ...sizes, hiddenSize: 88, intermediateSize: asked });
      expect(made.config, String(asked)).to.include({ feedForward: width });
    }
    const small = { vocabSize: 7, hiddenSize: 8, numHiddenLayers: 1, attn: null, hiddenRatio: 0 };
    for (const name of ['SambaForCausalLM', 'MomForCausalLM'] as const) {
      expectError('INVALID_ARGUMENT', /^(samba|mom): hidden_ratio must be /, () => new fw.models[name](small));
    }
  });

  it('names the known ones for a name that it does not know', () => {
    const list = modelFamilies.map(({ name }) => `'${name}'`).join(' | ');
    const error = expectError('INVALID_ARGUMENT', /createModel: name/, () =>
      fw.createModel('something else' as never, sizes as never),
    );
    expect(error).to.include({ argument: 'name', expected: list, found: '"something else"' });
    expectError('INVALID_ARGUMENT', /name must be one of the known; did you mean 'gated-deltanet'\?/, () =>
      fw.createModel('gated-deltanett' as never, sizes as never),
    );
    expectError('UNSUPPORTED', /model_type "toString" is not supported; known are linear_attn, .*registerModel/, () =>
      fw.AutoModelForCausalLM.fromConfig({ model_type: 'toString' } as never),
    );
  });

  it('refuses names that are taken, names that are none, and what is no model', () => {
    class Own extends fw.models.LstmForCausalLM {}
    const own = { modelType: 'own_family', keys: {}, model: Own };
    const cases: [argument: string, definition: object, message: RegExp][] = [
      ['modelType', { ...own, modelType: 'gla' }, /not registered yet, got "gla"/],
      ['modelType', { ...own, modelType: 'gated-deltanet' }, /not registered yet/],
      ['name', { ...own, name: 'delta_net' }, /not registered yet, got "delta_net"/],
      ['modelType', { ...own, modelType: 'delta_net', name: 'another' }, /not registered yet/],
      ['modelType', { ...own, modelType: '../own' }, /a name of letters/],
      ['name', { ...own, name: 'own,other' }, /a name of letters/],
      ['modelType', { keys: {}, model: Own }, /a name of letters.* got undefined/],
      ['model', { ...own, model: class {} }, /a class that extends models.CausalLM.*, got class model$/],
      ['model', { ...own, model: class Foreign {} }, /, got class Foreign$/],
      ['model', { ...own, model: () => 1 }, /, got function model$/],
      ['model', { ...own, model: 'Own' }, /a class that extends models.CausalLM/],
      ['keys', { ...own, keys: null }, /an object of keys/],
      ['keys', { ...own, keys: { depth: 3 } }, /an object of keys/],
      ['configuration', { ...own, configuration: {} }, /a function/],
      ['heads', { ...own, heads: 'two' }, /true or false/],
      ['modeltype', { ...own, modeltype: 'x' }, /did you mean modelType/],
    ];
    const before = modelFamilies.length;
    for (const [argument, definition, message] of cases) {
      const error = expectError('INVALID_ARGUMENT', message, () => fw.registerModel(definition as never));
      expect(error.argument).to.equal(argument);
    }
    expect(modelFamilies).to.have.lengthOf(before);
  });
});

describe('the registry of rules', () => {
  it('holds every exported rule under its name', () => {
    const rules = Object.entries(fw).filter(([, value]) => typeof (value as { step?: unknown }).step === 'function');
    expect(fw.ruleNames()).to.deep.equal(rules.map(([name]) => name).sort());
    for (const name of fw.ruleNames()) expect(fw.getRule(name)).to.equal(fw[name]);
  });

  it('refuses names that are taken or unknown, and what is no rule', () => {
    expectError('INVALID_ARGUMENT', /name must be one that is not registered yet, got "deltaRule"/, () =>
      fw.registerRule('deltaRule', fw.comba),
    );
    expectError('INVALID_ARGUMENT', /a name of letters/, () => fw.registerRule('a rule', fw.comba));
    expectError('INVALID_ARGUMENT', /rule must be a function of sequences with a step/, () =>
      fw.registerRule('own', (() => undefined) as never),
    );
    expectError('INVALID_ARGUMENT', /getRule: name must be abc \| .*stpn.*, got "delta"/, () =>
      fw.getRule('delta' as never),
    );
  });
});
