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
      const made = fw.createModel(name, fw.models.takenSizes(name, sizes));
      if (named) expect(fw.createModel(modelType, fw.models.takenSizes(name, sizes)).config).to.deep.equal(made.config);
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

  for (const { name, sizes: taken } of modelFamilies) {
    it(`${name} has the sizes ${taken.join(', ')}, each with an effect, and refuses the others`, () => {
      const base = { vocabSize: 7, hiddenSize: 32, numLayers: 1, numHeads: 4, intermediateSize: 32 };
      const madeOf = (given: object): string => {
        using model = fw.createModel(name, { ...fw.models.takenSizes(name, given), device: 'js' } as never);
        return JSON.stringify(model.config.source);
      };
      const other = { vocabSize: 8, hiddenSize: 64, numLayers: 2, numHeads: 2, intermediateSize: 64 };
      for (const [size, value] of Object.entries(other)) {
        if (taken.includes(size as fw.models.SizeName)) {
          expect(madeOf({ ...base, [size]: value })).to.not.equal(madeOf(base));
          continue;
        }
        const given = { ...fw.models.takenSizes(name, base), device: 'js', [size]: value };
        const error = expectError('INVALID_ARGUMENT', new RegExp(`${size} has no effect on ${name}, whose`), () =>
          fw.createModel(name, given as never),
        );
        expect(error).to.include({ argument: size, expected: taken.join(' | ') });
      }
    });
  }

  it('asks heads to divide the width only where there are heads', () => {
    expect(fw.createModel('lstm', { vocabSize: 7, hiddenSize: 10, device: 'js' }).config.hiddenSize).to.equal(10);
    expectError('INVALID_ARGUMENT', /numHeads must be a divisor of 10, got 4/, () =>
      fw.createModel('retnet', { vocabSize: 7, hiddenSize: 10, device: 'js' }),
    );
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
