// What the golden checkpoint of xLSTM does not have: joined weights, other caps, new weights, and what is refused.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectError } from '../support/errors';
import { expectClose } from '../support/tolerance';

const where = { device: 'js', dtype: 'float64' } as const;
const config = {
  model_type: 'xlstm',
  vocab_size: 13,
  embedding_dim: 16,
  num_blocks: 2,
  num_heads: 2,
  ffn_round_up_to_multiple_of: 8,
} as const;

const make = (more: object = {}): fw.models.CausalLM =>
  fw.withSeed(4, () => fw.AutoModelForCausalLM.fromConfig({ ...config, ...more }, where));

const logitsOf = (model: fw.models.CausalLM): Float64Array => {
  const ids = fw.tensor([[1, 5, 2, 5, 12, 0, 7]], { dtype: 'int32', device: 'js' });
  return Float64Array.from(fw.noGrad(() => model.forward(ids).logits.dataSync()));
};

describe('xLSTM', () => {
  it('reads weights that are joined as those that stand apart', () => {
    const [apart, joined] = [make({ initializer_range: 0.3 }), make({ weight_mode: 'fused' })];
    const weights = apart.stateDict();
    const rows: Record<string, string[]> = {
      qkv_opreact: ['q', 'k', 'v', 'ogate_preact'],
      ifgate_preact: ['igate_preact', 'fgate_preact'],
      proj_up_gate_z: ['proj_up_gate', 'proj_up'],
    };
    const joinedWeight = (name: string): fw.Tensor => {
      const [, before, part, kind] = /^(.*\.)?(\w+)\.(\w+)$/.exec(name)!;
      return rows[part] ? fw.cat(rows[part].map((own) => weights[`${before}${own}.${kind}`])) : weights[name];
    };
    joined.loadStateDict(Object.fromEntries(Object.keys(joined.stateDict()).map((name) => [name, joinedWeight(name)])));
    expectClose('logits', logitsOf(joined), logitsOf(apart), 1e-12);
  });

  it('has the widths of its factors, and caps on gates and logits that may be left out', () => {
    const model = make({ qk_dim_factor: 1, v_dim_factor: 2, ffn_proj_factor: 1.1 });
    expect(model.config).to.include({
      keyDim: 8,
      valueDim: 16,
      intermediateSize: 24,
      hiddenSize: 16,
      numHiddenLayers: 2,
    });
    const weights = Object.keys(model.stateDict());
    expect(weights).to.include('backbone.blocks.1.mlstm_layer.multihead_norm.weight').and.include('lm_head.weight');
    const [free, capped] = [null, 0.01].map((cap) => logitsOf(make({ output_logit_soft_cap: cap })));
    expectClose(
      'logits',
      capped,
      free.map((x) => 0.01 * Math.tanh(x / 0.01)),
      1e-12,
    );
    expect(logitsOf(make({ gate_soft_cap: null }))).not.to.deep.equal(logitsOf(make({ gate_soft_cap: 1 })));
  });

  it('begins with closed input and open forget gates that do not see x', () => {
    const weights = make({ weight_mode: 'fused' }).stateDict();
    const gate = weights['backbone.blocks.0.mlstm_layer.ifgate_preact.bias'];
    expect([...gate.dataSync()]).to.deep.equal([-10, -10, 3, 6]);
    expect(weights['backbone.blocks.0.mlstm_layer.ifgate_preact.weight'].dataSync().some(Boolean)).to.equal(false);
  });

  it('refuses by name what it does not compute', () => {
    const refused: [object, RegExp][] = [
      [{ add_out_norm: false }, /add_out_norm false is not supported/],
      [{ hidden_size: 32 }, /embedding_dim 16 is not supported/],
      [{ num_hidden_layers: 3 }, /num_blocks 2 is not supported/],
    ];
    for (const [more, message] of refused) expectError('UNSUPPORTED', message, () => make(more));
    expectError('INVALID_ARGUMENT', /num_heads must be a divisor of 8/, () => make({ num_heads: 3 }));
    for (const cap of [1e39, 1e-46, 0]) {
      for (const key of ['gate_soft_cap', 'output_logit_soft_cap']) {
        const error = expectError('INVALID_ARGUMENT', /must be a number from/, () => make({ [key]: cap }));
        expect(error.argument).to.equal(key);
      }
    }
    expectError('INVALID_ARGUMENT', /weight_mode must be/, () => make({ weight_mode: 'double' }));
  });
});
