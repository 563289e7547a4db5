// Freezing by names, and low-rank adapters: what they compute, train, save, merge, and leave alone.
import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import * as fw from '../../lib';
import { EVERY_PART } from '../support/everyPart';
import { expectError, expectRejection } from '../support/errors';
import { temporaryFolder } from '../io/folder';
import { targets } from '../support/golden';
import { expectClose, toleranceOf } from '../support/tolerance';
import { withoutZeros } from '../support/withoutZeros';

const { nn } = fw;
type Model = fw.models.CausalLM;

const SIZES = { vocabSize: 11, hiddenSize: 8, numLayers: 2, numHeads: 2 } as const;
const make = (family: fw.ModelName = 'deltanet', options: object = {}): Model =>
  fw.withSeed(3, () => fw.createModel(family, { ...SIZES, device: 'js', ...options }));
const IDS = fw.tensor([1, 5, 2, 8, 0, 3], { shape: [2, 3], dtype: 'int32', device: 'js' });
const logits = (model: Model): number[] => Array.from(fw.noGrad(() => model.forward(IDS).logits.dataSync()));
const trained = (model: fw.nn.Module): string[] =>
  model.namedParameters().flatMap(([name, t]) => (t.requiresGrad ? [name] : []));
const values = (model: fw.nn.Module): unknown => Object.entries(model.stateDict()).map(([n, t]) => [n, t.tolist()]);
/** Makes adapters do something. */
const stir = (model: fw.nn.Module, std = 0.2): void =>
  fw.noGrad(() => {
    for (const [name, t] of model.namedParameters()) if (name.includes('lora_B')) nn.init.normal_(t, 0, std);
  });

describe('freezing by names', () => {
  it('takes names, modules, wildcards and regular expressions', () => {
    const model = make();
    const all = trained(model);
    const frozen = nn.freeze(model, ['model.embeddings', '*.o_norm.*', /layers\.1\..*proj/g]);
    expect(frozen).to.include.members(['model.embeddings.weight', 'model.layers.0.attn.o_norm.weight']);
    expect(frozen.filter((name) => name.includes('layers.1'))).to.have.length(9);
    expect(trained(model)).to.eql(all.filter((name) => !frozen.includes(name)));
    expect(nn.unfreeze(model, 'model.layers.1.mlp')).to.have.length(3);
    // A part of a word is no module.
    expectError('INVALID_ARGUMENT', /patterns must be one that matches a name: .*, got "model.layers.1.ml"/, () =>
      nn.freeze(model, 'model.layers.1.ml'),
    );
    expect(nn.unfreeze(model)).to.eql(all);
    expect(trained(model)).to.eql(all);
  });

  it('changes nothing where a pattern matches nothing', () => {
    const model = make();
    const all = trained(model);
    expectError('INVALID_ARGUMENT', /got \/nowhere\//, () => nn.freeze(model, ['model.norm', /nowhere/]));
    expectError('INVALID_ARGUMENT', /at least one pattern/, () => nn.freeze(model, []));
    expectError('INVALID_ARGUMENT', /a pattern or a RegExp, got 3/, () => nn.freeze(model, 3 as never));
    expect(trained(model)).to.eql(all);
  });

  it('reaches tied parameters by any of their names', () => {
    const model = make('transformer', { tieWordEmbeddings: true });
    expect(nn.freeze(model, 'lm_head')).to.eql(['lm_head.weight']);
    expect(trained(model)).not.to.include('model.embed_tokens.weight');
  });
});

for (const where of targets()) {
  describe(`low-rank adapters on ${where.device}, ${where.dtype}`, () => {
    it('add alpha / rank B A x, also before an activation and beside a residual', () => {
      const { forward } = toleranceOf(where.dtype);
      const layer = new nn.Linear(5, 3, where);
      const net = new nn.Sequential({ layer });
      nn.addLora(net, { rank: 2, alpha: 6, targets: 'layer' });
      stir(net);
      const { lora_A, lora_B } = layer.adapter as unknown as { lora_A: fw.nn.Linear; lora_B: fw.nn.Linear };
      expect([lora_A.weight.shape, lora_B.weight.shape]).to.eql([
        [2, 5],
        [3, 2],
      ]);
      const x = fw.randn([4, 5], where);
      const residual = fw.randn([4, 3], where);
      const whole = layer.weight.detach().add(fw.matmul(lora_B.weight.detach(), lora_A.weight.detach()).mul(3));
      const options = [{}, { residual }, { activation: 'silu' }, { activation: 'silu', residual }] as const;
      for (const option of options) {
        const expected = fw.linear(x, whole, layer.bias!.detach(), option);
        expectClose('output', layer.forward(x, option).dataSync(), expected.dataSync(), forward);
      }
      nn.mergeLora(net);
      expectClose('merged', layer.forward(x).dataSync(), fw.linear(x, whole, layer.bias!.detach()).dataSync(), forward);
      expectClose('weight', layer.weight.dataSync(), whole.dataSync(), forward);
    });
  });
}

describe('low-rank adapters', () => {
  const file = temporaryFolder();

  it('begin as nothing, are all that is trained, and leave the state dictionary alone', () => {
    const model = make();
    const [before, state] = [logits(model), Object.keys(model.stateDict())];
    const names = nn.addLora(model, { rank: 2, alpha: 4, targets: ['q_proj', 'mlp.*_proj'], dropout: 0.5 });
    expect(names).to.have.length(8);
    expectClose('at first', logits(model), before, 1e-5);
    expect(trained(model)).to.have.length(16);
    expect(trained(model)[0]).to.equal('model.layers.0.attn.q_proj.adapter.lora_A.weight');
    expect(Object.keys(model.stateDict())).to.eql(state);
    const base = values(model);
    const optimizer = new fw.optim.AdamW(model.namedParameters(), { lr: 0.05 });
    const losses = Array.from({ length: 6 }, () => {
      const { loss } = model.forward(IDS, { labels: IDS });
      loss.backward();
      optimizer.step();
      model.zeroGrad();
      return loss.item();
    });
    expect(losses.at(-1)).to.be.below(losses[0]);
    expect(values(model)).to.eql(base);
    model.loadStateDict(make().stateDict());
    // Dropout is that of the adapters.
    expect(logits(model)).not.to.eql(logits(model));
    model.eval();
    expect(logits(model)).to.eql(logits(model));
  });

  it('merge and unmerge, bit for bit, and come out with or without what they learned', () => {
    const model = make().eval();
    const [base, plain] = [values(model), logits(model)];
    nn.addLora(model, { rank: 2, alpha: 4, targets: 'all-linear' });
    expect(trained(model).some((name) => name.startsWith('lm_head'))).to.equal(false);
    stir(model);
    const adapted = logits(model);
    expect(adapted).not.to.eql(plain);
    nn.mergeLora(model);
    nn.mergeLora(model);
    expectClose('merged', logits(model), adapted, 1e-5);
    expect(values(model)).not.to.eql(base);
    nn.unmergeLora(model);
    expect([values(model), logits(model)]).to.eql([base, adapted]);
    nn.removeLora(model, { merge: true });
    expectClose('left in', logits(model), adapted, 1e-5);
    expect(trained(model)).to.eql([]);
    nn.addLora(model, { rank: 1, alpha: 1, targets: /q_proj$/ });
    stir(model);
    nn.mergeLora(model);
    const left = fw.memory().devices.reduce((n, d) => n + d.storages, 0);
    nn.removeLora(model);
    // A, B and the kept weight of two layers.
    expect(left - fw.memory().devices.reduce((n, d) => n + d.storages, 0)).to.equal(6);
    expectClose('taken out', logits(model), adapted, 1e-5);
  });

  it('unmerge what was loaded while they were merged to the loaded weights without them', () => {
    for (const dtype of ['float32', 'bfloat16'] as const) {
      const layer = new nn.Linear(3, 2, { device: 'js' });
      const net = new nn.Sequential({ layer });
      nn.addLora(net, { rank: 1, alpha: 2, targets: 'layer' });
      stir(net);
      const before = layer.weight.tolist();
      nn.mergeLora(net);
      // A cast is no change of what it is.
      net.to(dtype).loadStateDict(net.stateDict());
      nn.unmergeLora(net);
      expect(layer.weight.tolist()).to.eql(fw.tensor(before, { device: 'js' }).to(dtype).tolist());
      net.to('float32');
      const { lora_A, lora_B } = layer.adapter as fw.nn.LoraAdapter;
      const added = fw.noGrad(() => lora_B.weight.matmul(lora_A.weight).mul(2));
      const loaded = fw.randn([2, 3], { device: 'js' });
      nn.mergeLora(net);
      net.loadStateDict({ 'layer.weight': loaded }, { strict: false });
      nn.unmergeLora(net);
      expectClose('loaded', layer.weight.dataSync(), loaded.sub(added).dataSync(), 1e-6);
    }
  });

  it('are refused where there is no layer for them, and nothing is frozen', () => {
    for (const net of [
      new nn.Sequential({ norm: new nn.RMSNorm(2) }),
      Object.assign(new nn.Embedding(2, 2), { lm_head: new nn.Linear(2, 2) }),
    ]) {
      const all = trained(net);
      expectError('INVALID_ARGUMENT', /addLora: model must be one with linear layers/, () =>
        nn.addLora(net, { rank: 1, alpha: 1, targets: 'all-linear' }),
      );
      expect(trained(net)).to.eql(all);
    }
  });

  it('are saved alone under the names of peft, and loaded again', async () => {
    const model = make().eval();
    nn.addLora(model, { rank: 2, alpha: 3, targets: 'q_proj', dropout: 0.25 });
    nn.addLora(model, { rank: 3, alpha: 9, targets: 'model.layers.1.mlp.gate_proj', dropout: 0.25 });
    stir(model);
    const dir = file('adapter');
    await nn.saveLora(model, dir, { baseModel: 'some/model', taskType: 'CAUSAL_LM' });
    const tensors = await fw.loadSafetensors(`${dir}/adapter_model.safetensors`, { device: 'js' });
    expect(Object.keys(tensors).sort()).to.eql(
      ['layers.0.attn.q_proj', 'layers.1.attn.q_proj', 'layers.1.mlp.gate_proj'].flatMap((name) =>
        ['A', 'B'].map((part) => `base_model.model.model.${name}.lora_${part}.weight`),
      ),
    );
    const config = JSON.parse(readFileSync(`${dir}/adapter_config.json`, 'utf8')) as Record<string, unknown>;
    expect(config).to.deep.include({ peft_type: 'LORA', r: 2, lora_alpha: 3, lora_dropout: 0.25, bias: 'none' });
    expect(config).to.deep.include({ task_type: 'CAUSAL_LM', base_model_name_or_path: 'some/model' });
    expect([config.rank_pattern, config.alpha_pattern]).to.eql([
      { 'model.layers.1.mlp.gate_proj': 3 },
      { 'model.layers.1.mlp.gate_proj': 9 },
    ]);
    expect(config.target_modules).to.have.members([
      'model.layers.0.attn.q_proj',
      'model.layers.1.attn.q_proj',
      'model.layers.1.mlp.gate_proj',
    ]);
    const again = make().eval();
    await nn.loadLora(again, dir);
    expect(logits(again)).to.eql(logits(model));
    expect(trained(again)).to.eql(trained(model));
    await expectRejection('INVALID_ARGUMENT', /without an adapter/, nn.loadLora(again, dir));
    await expectRejection('FORMAT', /an adapter of a linear layer/, nn.loadLora(make('lstm'), dir));
    await expectRejection(
      'FORMAT',
      /lora_A\.weight must be \[2, 4\]/,
      nn.loadLora(make('deltanet', { hiddenSize: 4 }), dir),
    );
  });

  it('read what peft writes, by the root of the rank, too, and refuse what they do not compute', async () => {
    const model = make().eval();
    nn.addLora(model, { rank: 4, alpha: 2, targets: 'v_proj' });
    stir(model);
    const dir = file('peft');
    const write = async (settings: object): Promise<string> => {
      await nn.saveLora(model, dir);
      const path = `${dir}/adapter_config.json`;
      const config = JSON.parse(readFileSync(path, 'utf8')) as object;
      const { writeFileSync } = await import('node:fs');
      writeFileSync(path, JSON.stringify({ ...config, ...settings }));
      return dir;
    };
    const root = make().eval();
    await nn.loadLora(root, await write({ use_rslora: true, lora_alpha: 1 }));
    // 1 / sqrt(4) is 2 / 4.
    expect(logits(root)).to.eql(logits(model));
    for (const [settings, pattern] of [
      [{ use_dora: true }, /use_dora must be false, got true/],
      [{ bias: 'all' }, /bias must be "none"/],
      [{ modules_to_save: ['lm_head'] }, /modules_to_save/],
      [{ peft_type: 'IA3' }, /peft_type must be "LORA"/],
    ] as const) {
      const fresh = make();
      await expectRejection('UNSUPPORTED', pattern, nn.loadLora(fresh, await write(settings)));
      expect(trained(fresh)).to.have.length(fresh.parameters().length);
    }
    await expectRejection('FORMAT', /r must be a whole number/, nn.loadLora(make(), await write({ r: 'four' })));
    await expectRejection('FORMAT', /lora_A\.weight must be \[3, 8\]/, nn.loadLora(make(), await write({ r: 3 })));
  });

  it('travel with the folder of the model, unless they are merged', async () => {
    const model = make().eval();
    nn.addLora(model, { rank: 2, alpha: 4, targets: 'k_proj' });
    stir(model);
    const dir = file('model');
    await model.savePretrained(dir);
    const again = await fw.AutoModelForCausalLM.fromPretrained(dir, { device: 'js' });
    expect(logits(again)).to.eql(logits(model));
    expect(trained(again)).to.eql(trained(model));
    nn.mergeLora(again);
    await again.savePretrained(dir);
    const merged = await fw.AutoModelForCausalLM.fromPretrained(dir, { device: 'js' });
    expect(logits(merged)).to.eql(logits(again));
    expect(merged.namedParameters().some(([name]) => name.includes('lora'))).to.equal(false);
  });

  it('reach every linear layer of every family, whatever way its weights are used', () => {
    for (const { name } of fw.models.modelFamilies) {
      fw.withChecks(false, () => {
        fw.manualSeed(2); // whatever tests ran before
        const model = withoutZeros(make(name, { numLayers: 1, ...EVERY_PART[name] })).eval();
        const linear = [...model.namedModules()].filter(([, m]) => m instanceof nn.Linear);
        const before = logits(model);
        for (const [path] of linear) {
          nn.addLora(model, { rank: 1, alpha: 1, targets: path });
          // Time steps near 0 would hide a small change behind float32's rounding.
          stir(model, 60);
          const after = logits(model);
          expect(after.every(Number.isFinite), `${name} ${path}`).to.equal(true);
          expect(after, `${name} ${path}`).not.to.eql(before);
          nn.removeLora(model);
        }
        expect(logits(model)).to.eql(before);
      });
    }
  });

  it('refuse layers that are none, have one, or share their weight where it matters', () => {
    const model = make('transformer', { tieWordEmbeddings: true });
    const add = (targets: fw.nn.Pattern | fw.nn.Pattern[]): unknown =>
      nn.addLora(model, { rank: 1, alpha: 1, targets });
    expectError('INVALID_ARGUMENT', /addLora: targets must be one that matches a name: model\.layers/, () =>
      add('norm'),
    );
    add('lm_head');
    expectError('INVALID_ARGUMENT', /layers without an adapter, got lm_head, which has one/, () => add(/./));
    expectError('UNSUPPORTED', /shared \(model\.embed_tokens\.weight, lm_head\.weight\)/, () => nn.mergeLora(model));
    expectError('INVALID_ARGUMENT', /one with adapters, got none/, () => nn.mergeLora(make()));
    expectError('INVALID_ARGUMENT', /rank/, () => nn.addLora(model, { rank: 0, alpha: 1, targets: 'q_proj' }));
    expectError('INVALID_ARGUMENT', /did you mean rank/, () =>
      nn.addLora(model, { rnk: 1, alpha: 1, targets: 'q_proj' } as never),
    );
  });
});
