// Layers around newer rules: in pieces, token by token, packed, gradients of all weights, what they compute, what they refuse.
import { expect } from 'chai';
import * as fw from '../../lib';
import { defaultDevice } from '../../lib/backends';
import { expectError } from '../support/errors';
import { type Target, targets } from '../support/golden';
import { expectClose, toleranceOf } from '../support/tolerance';

const { models } = fw;
const [T, D] = [7, 8];

const DELTA = { hiddenSize: D, numHeads: 1, numValueHeads: 2, keyDim: 3, valueDim: 4, convSize: 2, normEps: 1e-5 };
const PRECONDITIONED = { ...DELTA, allowNegEigval: true, squash: 2, squashEps: 1e-3, newCenter: -0.5, leastRate: 0 };
const HEADWISE = { ...PRECONDITIONED, useGate: true };
const RETENTION = { hiddenSize: D, numHeads: 2, frequencies: [1, 0.1], gateNormalizer: 16, normEps: 1e-5 };
const CYCLIC = {
  hiddenSize: D,
  numHeads: 2,
  keyDim: 3,
  valueDim: 4,
  numSlots: 5,
  convSize: 2,
  convBias: true,
  normEps: 1e-5,
};
const CHANNELWISE = { ...PRECONDITIONED, lowerBound: -2 };

const LAYERS: [title: string, make: (where: Target) => fw.models.Recurrent][] = [
  ['efla', (where) => new models.DeltaVariant(D, 2, 'efla', where)],
  ['kaczmarzAttention', (where) => new models.DeltaVariant(D, 2, 'kaczmarzAttention', { convSize: null, ...where })],
  ['qDeltaRule', (where) => new models.DeltaVariant(D, 2, 'qDeltaRule', { keyDim: 3, useGate: false, ...where })],
  ['forgetting attention', (where) => new models.ForgettingAttention(D, 2, { outputGate: true, ...where })],
  [
    'forgetting attention, a window',
    (where) => new models.ForgettingAttention(D, 4, { numKvHeads: 2, windowSize: 3, ...where }),
  ],
  ['PaTH', (where) => new models.PaTHAttention(D, 2, { rank: 3, ...where })],
  [
    'PaTH that forgets',
    (where) =>
      new models.PaTHAttention(D, 2, { numKvHeads: 1, forgetGate: true, rank: null, convSize: null, ...where }),
  ],
  ['DeltaFormer', (where) => new models.DeltaFormerAttention(D, 2, where)],
  ['Based', (where) => new models.BasedLinearAttention(D, 2, { featureDim: 3, ...where })],
  ['ReBased', (where) => new models.ReBasedLinearAttention(D, 2, { featureDim: 3, ...where })],
  ['LightNet', (where) => new models.LightNetAttention(D, 2, { gateRank: 3, ...where })],
  ['LightNet, convolutions', (where) => new models.LightNetAttention(D, 2, { keyDim: 3, convSize: 3, ...where })],
  ['mixture of memories', (where) => new models.MixtureOfMemories(D, 2, { numMemories: 3, ...where })],
  [
    'mixture of memories, none shared',
    (where) => new models.MixtureOfMemories(D, 2, { numMemories: 2, sharedMemory: false, headDim: 3, ...where }),
  ],
  [
    'mixture of memories, projections of all',
    (where) =>
      new models.MixtureOfMemories(D, 2, {
        singleProjection: true,
        convSize: 2,
        valueDim: 3,
        outputGate: false,
        ...where,
      }),
  ],
  ['Momentum DeltaNet', (where) => new models.MomentumDeltaNet(D, 2, { valueDim: 3, ...where })],
  ['preconditioned Gated DeltaNet', (where) => new models.PreconditionedGatedDeltaNet(HEADWISE, where)],
  ['preconditioned KDA', (where) => new models.PreconditionedKimiDelta(CHANNELWISE, where)],
  ['CyFA', (where) => new models.CyclicFlowAttention(CYCLIC, where)],
  ['gated retention', (where) => new models.GatedRetention(RETENTION, where)],
  ['sLSTM', (where) => new models.SlstmLayer(D, 2, where)],
  ['sLSTM, no convolution', (where) => new models.SlstmLayer(D, 1, { convSize: null, ...where })],
  ['Rodimus', (where) => new models.RodimusAttention(D, { keyDim: 5, ...where })],
];

for (const where of targets().filter(({ device, dtype }) => device !== 'js' || dtype === 'float64')) {
  const { forward } = toleranceOf(where.dtype);
  describe(`layers of newer rules on ${where.device}, ${where.dtype}`, () => {
    for (const [name, make] of LAYERS) {
      it(`${name}: in pieces, token by token and packed`, () =>
        fw.withChecks(false, () =>
          fw.noGrad(() =>
            fw.scope(() => {
              const layer = fw.withSeed(4, () => make(where));
              const x = fw.withSeed(5, () => fw.randn([2, T, D], where));
              const whole = layer.forward(x).output;
              for (const cut of [0, 3]) {
                const begin = layer.forward(x.slice(1, 0, cut), { outputState: true });
                const state = cut === 0 ? layer.initialState(2) : begin.state!;
                const tokens = [cut, cut + 1].map((t) => layer.step(x.select(1, t), state).unsqueeze(1));
                const rest = layer.forward(x.slice(1, cut + 2), { state, outputState: true }).output;
                const parts = fw.cat([begin.output, ...tokens, rest], 1);
                expectClose(`cut at ${cut}`, parts.dataSync(), whole.dataSync(), forward);
              }
              const packed = layer.forward(x.reshape(1, 2 * T, D), { cuSeqlens: [0, T, T, 2 * T] }).output;
              expectClose('packed', packed.dataSync(), whole.dataSync(), forward);
            }),
          ),
        ));
    }
  });
}

const EXACT = { device: 'js', dtype: 'float64' } as const;

describe('layers of newer rules', () => {
  for (const [name, make] of LAYERS) {
    it(`${name}: every weight has a gradient; bfloat16 stays near`, () =>
      fw.withChecks(false, () =>
        fw.scope(() => {
          const layer = fw.withSeed(4, () => make(EXACT));
          const x = fw.withSeed(5, () => fw.randn([1, T, D], EXACT));
          const { output } = layer.forward(x);
          output.square().sum().backward();
          for (const [weight, t] of layer.namedParameters()) {
            expect(t.grad?.abs().sum().item(), weight).to.be.above(1e-9);
          }
          // On a card that computes in bfloat16 nothing widens what a layer hands its rule.
          const device = defaultDevice();
          const rounded = make({ device, dtype: 'bfloat16' });
          const state = Object.entries(layer.stateDict()).map(([key, t]) => [key, t.detach().to('bfloat16')] as const);
          rounded.loadStateDict(
            Object.fromEntries(
              state.map(([key, t]) => [key, t.to(rounded.stateDict()[key].dtype as 'float32').to(device)]),
            ),
          );
          const found = fw.noGrad(() => rounded.forward(x.detach().to('bfloat16').to(device)).output);
          expect(found.dtype).to.equal('bfloat16');
          expectClose('bfloat16', found.dataSync(), output.dataSync(), 0.03);
        }),
      ));
  }

  /** Inputs, and what a layer makes of them. */
  const run = (layer: fw.models.Recurrent): [x: fw.Tensor, output: fw.Tensor] => {
    const x = fw.withSeed(6, () => fw.randn([1, T, D], EXACT));
    return [x, layer.forward(x).output];
  };
  const heads = (x: fw.Tensor): fw.Tensor => x.reshape(1, T, 2, x.shape[2] / 2);
  const scoresOf = (q: fw.Tensor, k: fw.Tensor): fw.Tensor => fw.einsum('bthk,bshk->bhts', heads(q), heads(k));
  const weighed = (weights: fw.Tensor, v: fw.Tensor): fw.Tensor =>
    fw.einsum('bhts,bshv->bthv', weights, heads(v)).reshape(1, T, D);
  const seen = (): fw.Tensor => fw.tril(fw.ones([T, T], EXACT));

  /** The preconditioned rule token by token; q, k, v, gate [1, T, HV, ...], what is left [1, T, HV]. */
  const preconditioned = (
    [q, k, v, gate, beta]: fw.Tensor[],
    [curvatureGate, curvatureBeta, center]: fw.Tensor[],
  ): fw.Tensor => {
    let [S, A] = [fw.zeros([1, 2, 3, 4], EXACT), fw.zeros([1, 2, 3], EXACT)];
    const outputs = Array.from({ length: T }, (_, t) => {
      const [qt, kt, vt, gt, bt, at, ct] = [q, k, v, gate, beta, curvatureGate, curvatureBeta].map((x) =>
        x.select(1, t),
      );
      A = A.mul(at.exp().unsqueeze(-1)).add(kt.square().mul(ct.unsqueeze(-1)));
      const r = A.add(PRECONDITIONED.squashEps).log().sub(center.unsqueeze(-1));
      const w = kt.mul(r.div(r.abs().add(1)).mul(-Math.log(PRECONDITIONED.squash)).exp());
      S = S.mul(gt.exp().unsqueeze(-1));
      const error = vt.sub(fw.einsum('bhkv,bhk->bhv', S, kt)).mul(bt.unsqueeze(-1));
      S = S.add(w.unsqueeze(-1).mul(error.unsqueeze(-2)));
      return fw.einsum('bhkv,bhk->bhv', S, qt).div(Math.sqrt(3));
    });
    return fw.stack(outputs, 1);
  };

  it('preconditioned delta rules write along keys that their own curvature rescales', () =>
    fw.noGrad(() =>
      fw.scope(() => {
        const headwise = new models.PreconditionedGatedDeltaNet(HEADWISE, EXACT);
        const channelwise = new models.PreconditionedKimiDelta(CHANNELWISE, EXACT);
        for (const layer of [headwise, channelwise]) {
          fw.nn.init.normal_(layer.log_atk_scale, 0, 0.5);
          const [x, output] = run(layer);
          const part = (proj: fw.nn.Linear, conv: fw.nn.ShortConvolution | null): fw.Tensor =>
            conv!.forward(proj.forward(x)).output;
          // One head of keys for two of values, scaled so that what is added to its squared length counts.
          const unit = (t: fw.Tensor): fw.Tensor =>
            t.div(t.square().sum(-1, true).add(1e-6).sqrt()).unsqueeze(2).expand([1, T, 2, 3]);
          const q = unit(part(layer.q_proj, layer.q_conv1d));
          const k = unit(part(layer.k_proj, layer.k_conv1d));
          const v = heads(part(layer.v_proj, layer.v_conv1d));
          const softplus = (t: fw.Tensor): fw.Tensor => t.exp().add(1).log();
          const decays = (proj: fw.nn.Linear, bias: fw.Tensor, logs: fw.Tensor): fw.Tensor =>
            softplus(proj.forward(x).add(bias)).mul(logs.exp().neg());
          const perValue = (t: fw.Tensor): fw.Tensor => t.expand([...t.shape.slice(0, -1), 2]);
          const beta = perValue(layer.b_proj.forward(x).sigmoid().mul(2));
          const own = layer instanceof models.PreconditionedGatedDeltaNet ? layer.a_atk_proj : layer.a_proj;
          const curvature = [
            perValue(decays(own, layer.dt_bias_atk, layer.A_log_atk)),
            perValue(layer.b_atk_proj.forward(x).sigmoid()),
            perValue(layer.log_atk_scale),
          ];
          const read = (gate: fw.Tensor, outputGate: fw.Tensor): fw.Tensor =>
            layer.o_proj.forward(
              fw
                .rmsNorm(preconditioned([q, k, v, gate, beta], curvature), layer.o_norm.weight, { eps: 1e-5 })
                .mul(heads(outputGate))
                .reshape(1, T, 8),
            );
          let expected: fw.Tensor;
          if (layer instanceof models.PreconditionedGatedDeltaNet) {
            const gate = decays(layer.a_proj!, layer.dt_bias!, layer.A_log!).unsqueeze(-1);
            expected = read(gate, layer.g_proj!.forward(x).silu());
          } else {
            const through = ([down, up]: fw.nn.Linear[]): fw.Tensor => up.forward(down.forward(x));
            const f = through(layer.f_proj).add(layer.dt_bias).reshape(1, T, 2, 3);
            const gate = f.mul(layer.A_log.exp().unsqueeze(-1)).sigmoid().mul(-2);
            expected = read(gate, through(layer.g_proj).sigmoid());
          }
          expectClose(layer.constructor.name, output.dataSync(), expected.dataSync(), 1e-9);
        }
      }),
    ));

  it('CyFA turns its slots by a clock whose steps move no input', () =>
    fw.scope(() => {
      const layer = fw.withSeed(1, () => new models.CyclicFlowAttention(CYCLIC, EXACT));
      fw.withSeed(2, () => {
        const all = [layer.table, layer.q_norm.weight, layer.k_norm.weight, layer.d_proj.weight];
        for (const t of all) fw.noGrad(() => fw.nn.init.normal_(t));
      });
      const x = fw.withSeed(6, () => fw.randn([1, T, D], { ...EXACT, requiresGrad: true }));
      const part = (name: 'q' | 'k' | 'v'): fw.Tensor => {
        const conv = layer[`${name}_conv1d`]!;
        expect(conv.activation).to.equal(null);
        return heads(conv.forward(layer[`${name}_proj`].forward(x)).output);
      };
      const normed = (y: fw.Tensor, weight: fw.Tensor): fw.Tensor =>
        y.div(y.square().mean(-1, true).add(1e-5).sqrt()).mul(weight);
      const operands = {
        gate: layer.a_proj.forward(x).add(layer.dt_bias).exp().add(1).log().mul(layer.A_log.exp().neg()),
        beta: layer.b_proj.forward(x).sigmoid(),
        delta: layer.d_proj.forward(x.detach()).sigmoid(),
        readout: layer.table,
      };
      const [q, k] = [normed(part('q'), layer.q_norm.weight), normed(part('k'), layer.k_norm.weight)];
      const read = fw.cyclicFlowAttention(q, k, part('v'), operands).output;
      const [down, up] = layer.g_proj;
      const gated = normed(read.mul(5), layer.o_norm.weight).mul(heads(up.forward(down.forward(x))).sigmoid());
      const expected = layer.o_proj.forward(gated.reshape(1, T, 8));
      const { output } = layer.forward(x);
      expectClose('output', output.dataSync(), expected.dataSync(), 1e-9);
      // Gradients add up: the second are as large as the first.
      const [once, twice] = [output, expected].map((y) => {
        y.square().sum().backward();
        return [...x.grad!.dataSync()];
      });
      expectClose(
        'gradient',
        twice.map((g, i) => g - once[i]),
        once,
        1e-9,
      );
    }));

  it('forgetting attention is a softmax of products and sums of gates', () =>
    fw.noGrad(() =>
      fw.scope(() => {
        const layer = new models.ForgettingAttention(D, 2, { outputGate: true, qkvBias: true, qkNorm: true, ...EXACT });
        for (const norm of [layer.q_norm!, layer.k_norm!]) fw.nn.init.normal_(norm.weight, 1, 0.5);
        const [x, output] = run(layer);
        const normed = (t: fw.Tensor, { weight }: fw.nn.RMSNorm): fw.Tensor => {
          const length = heads(t).square().mean(-1, true).add(1e-5).sqrt();
          return heads(t).div(length).reshape(1, T, D).mul(weight);
        };
        const [q, k] = [normed(layer.q_proj.forward(x), layer.q_norm!), normed(layer.k_proj.forward(x), layer.k_norm!)];
        const sums = layer.f_proj.forward(x).sigmoid().log().cumsum(1).transpose(1, 2);
        const between = sums.unsqueeze(3).sub(sums.unsqueeze(2));
        const scores = scoresOf(q, k).div(2).add(between);
        const read = weighed(scores.add(seen().log()).softmax(-1), layer.v_proj.forward(x));
        const expected = layer.o_proj.forward(read.mul(layer.g_proj!.forward(x).sigmoid()));
        expectClose('output', output.dataSync(), expected.dataSync(), 1e-10);
      }),
    ));

  it('Based divides 1 + s + s^2 / 2 by its sum, ReBased s^2 of normed vectors', () =>
    fw.noGrad(() =>
      fw.scope(() => {
        const plain = new models.BasedLinearAttention(D, 2, { featureDim: 3, ...EXACT });
        const squared = new models.ReBasedLinearAttention(D, 2, { featureDim: 3, ...EXACT });
        fw.nn.init.normal_(squared.feature_map.gamma);
        fw.nn.init.normal_(squared.feature_map.beta);
        const { gamma, beta } = squared.feature_map;
        const normed = (t: fw.Tensor): fw.Tensor =>
          fw.layerNorm(heads(t), null, null, 1e-5).mul(gamma).add(beta).reshape(1, T, 6);
        for (const [layer, map, score, eps] of [
          [plain, (t: fw.Tensor) => t, (s: fw.Tensor) => s.add(1).add(s.square().div(2)), 1e-6],
          [squared, normed, (s: fw.Tensor) => s.square(), 1e-5],
        ] as const) {
          const [x, output] = run(layer);
          const s = scoresOf(map(layer.q_proj.forward(x)), map(layer.k_proj.forward(x))).div(Math.sqrt(3));
          const scores = score(s).mul(seen());
          const weights = scores.div(scores.sum(-1, true).add(eps));
          const expected = layer.o_proj.forward(weighed(weights, layer.v_proj.forward(x)));
          expectClose('output', output.dataSync(), expected.dataSync(), 1e-9);
        }
      }),
    ));

  it('LightNet weighs by a softmax over the text so far, channel by channel', () =>
    fw.noGrad(() =>
      fw.scope(() => {
        const layer = new models.LightNetAttention(D, 2, { gateRank: 3, ...EXACT });
        const [x, output] = run(layer);
        const [q, k, v] = [layer.q_proj, layer.k_proj, layer.v_proj].map((proj) => heads(proj.forward(x)));
        const shares = k
          .unsqueeze(1)
          .add(seen().log().reshape(1, T, T, 1, 1))
          .softmax(2);
        const read = fw.einsum('bthk,btshk,bshv->bthv', q.silu().div(2), shares, v).reshape(1, T, D);
        const normed = read.div(read.square().mean(-1, true).add(1e-5).sqrt());
        const expected = layer.o_proj.forward(normed.mul(layer.g_proj.forward(x).silu()));
        expectClose('output', output.dataSync(), expected.dataSync(), 1e-9);
      }),
    ));

  it('PaTH and DeltaFormer give their rules what they say', () =>
    fw.noGrad(() =>
      fw.scope(() => {
        const path = new models.PaTHAttention(D, 2, { rank: 3, forgetGate: true, ...EXACT });
        const [x, output] = run(path);
        const [q, k, v] = [path.q_proj, path.k_proj, path.v_proj].map((proj) => heads(proj.forward(x)));
        const w = fw.l2Norm(heads(path.w_conv1d!.forward(path.w_proj.forward(x)).output));
        const beta = path.bt_proj.forward(x).sigmoid().mul(2);
        const read = fw.pathAttention(q, k, v, { w, beta, gate: path.g_proj!.forward(x).sigmoid().log() }).output;
        expectClose('path', output.dataSync(), path.o_proj.forward(read.reshape(1, T, D)).dataSync(), 1e-9);
        const former = new models.DeltaFormerAttention(D, 2, { qkvBias: true, qkNorm: true, ropeTheta: 50, ...EXACT });
        for (const norm of [former.q_norm!, former.k_norm!]) fw.nn.init.normal_(norm.weight, 1, 0.5);
        const [y, found] = run(former);
        const [q2, k2, v2] = [former.q_proj, former.k_proj, former.v_proj].map((proj) => heads(proj.forward(y)));
        const turn = (t: fw.Tensor, { weight }: fw.nn.RMSNorm): fw.Tensor =>
          fw.rope(t.div(t.square().mean(-1, true).add(1e-5).sqrt()).mul(weight), { base: 50 });
        const [q3, k3] = [turn(q2, former.q_norm!), turn(k2, former.k_norm!)];
        const turned = fw.deltaFormer(q3, k3, v2, { beta: former.b_proj.forward(y) }).output;
        expectClose('former', found.dataSync(), former.o_proj.forward(turned.reshape(1, T, D)).dataSync(), 1e-9);
      }),
    ));

  it('delta variants and Rodimus give their rules what they say', () =>
    fw.noGrad(() =>
      fw.scope(() => {
        const norm = (y: fw.Tensor): fw.Tensor => y.div(y.square().mean(-1, true).add(1e-5).sqrt());
        for (const variant of ['efla', 'kaczmarzAttention', 'qDeltaRule'] as const) {
          const layer = new models.DeltaVariant(D, 2, variant, { convSize: null, useGate: false, ...EXACT });
          const [x, output] = run(layer);
          const [q, k, v] = [layer.q_proj, layer.k_proj, layer.v_proj].map((proj) => heads(proj.forward(x).silu()));
          const s = layer.b_proj.forward(x).sigmoid();
          const gate =
            layer.a_proj && layer.A_log!.exp().neg().mul(layer.a_proj.forward(x).add(layer.dt_bias!).softplus());
          const read = {
            efla: () => fw.efla(q, k, v, { beta: s }),
            kaczmarzAttention: () => fw.kaczmarzAttention(q, k, v, { eta: s, gate }),
            qDeltaRule: () => {
              const queryShare = layer.l_proj!.forward(x).sub(0.9).sigmoid();
              return fw.qDeltaRule(fw.l2Norm(q), fw.l2Norm(k), v, { beta: s, gate, queryShare });
            },
          }[variant]().output;
          const expected = layer.o_proj.forward(norm(read).reshape(1, T, D));
          expectClose(variant, output.dataSync(), expected.dataSync(), 1e-9);
        }
        const layer = new models.RodimusAttention(D, { keyDim: 5, ...EXACT });
        const [x, output] = run(layer);
        const h = layer.up_proj.forward(x);
        const s = layer.short_conv!.forward(h).output;
        const [q, k, gateLogit, temperatureLogit] = [
          layer.q_proj,
          layer.k_proj,
          layer.g_gate_proj,
          layer.tau_gate_proj,
        ].map((proj) => proj.forward(s).unsqueeze(2));
        const v = h.mul(layer.i_gate_proj.forward(h).sigmoid()).unsqueeze(2);
        const read = fw.rodimus(q, k, v, { gateLogit, temperatureLogit }).output.squeeze(2);
        const gated = read.add(s.mul(layer.residual_weight)).mul(layer.gate_proj.forward(x).silu());
        expectClose('rodimus', output.dataSync(), layer.down_proj.forward(norm(gated)).dataSync(), 1e-9);
      }),
    ));

  it('sLSTM gives its rule gates of each head', () =>
    fw.noGrad(() =>
      fw.scope(() => {
        const layer = new models.SlstmLayer(D, 2, EXACT);
        for (const t of [layer.recurrent, layer.bias, layer.norm]) fw.nn.init.normal_(t);
        const [x, output] = run(layer);
        const seen = layer.conv1d!.forward(x).output;
        const gates = [
          [layer.igate, seen],
          [layer.fgate, seen],
          [layer.zgate, x],
          [layer.ogate, x],
        ] as const;
        const parts = gates.map(([gate, from]) => fw.einsum('hed,bthd->bthe', gate.weight, heads(from)));
        const { recurrent, bias } = layer;
        const cell = fw.slstm({ gates: fw.stack(parts, 2), recurrent, bias }).output;
        const expected = fw.layerNorm(cell, null, null, 1e-5).reshape(1, T, D).mul(layer.norm);
        expectClose('output', output.dataSync(), expected.dataSync(), 1e-9);
      }),
    ));

  it('a mixture of memories gives its rule the projections of each memory', () =>
    fw.noGrad(() =>
      fw.scope(() => {
        const layer = new models.MixtureOfMemories(D, 2, { numMemories: 3, convSize: null, ...EXACT });
        const [x, output] = run(layer);
        const vectors = (proj: fw.nn.Linear): fw.Tensor => heads(proj.forward(x).silu());
        const strength = (proj: fw.nn.Linear): fw.Tensor => proj.forward(x).sigmoid();
        const decay = (proj: fw.nn.Linear): fw.Tensor =>
          layer.A_log.exp().neg().mul(proj.forward(x).add(layer.dt_bias).softplus());
        const read = fw.mixtureOfMemories(
          fw.l2Norm(vectors(layer.q_proj)),
          fw.stack(
            [...layer.k_proj!].map((proj) => fw.l2Norm(vectors(proj))),
            2,
          ),
          fw.stack([...layer.v_proj!].map(vectors), 2),
          {
            beta: fw.stack([...layer.b_proj!].map(strength), 2),
            gate: fw.stack([...layer.a_proj!].map(decay), 2),
            router: layer.gate.forward(x),
            sharedK: fw.l2Norm(vectors(layer.shared_k!)),
            sharedV: vectors(layer.shared_v!),
            sharedBeta: strength(layer.shared_b!),
            sharedGate: decay(layer.shared_a!),
          },
        ).output;
        const normed = read.div(read.square().mean(-1, true).add(1e-5).sqrt()).reshape(1, T, D);
        const expected = layer.o_proj.forward(normed.mul(layer.g_proj!.forward(x).silu()));
        expectClose('output', output.dataSync(), expected.dataSync(), 1e-9);
      }),
    ));

  it('a mixture of memories convolves the tokens of each memory, none of others between them', () =>
    fw.noGrad(() =>
      fw.scope(() => {
        for (const singleProjection of [false, true]) {
          const own = { numMemories: 3, topK: 2, sharedMemory: false, singleProjection, valueDim: 5, convSize: 3 };
          const layer = new models.MixtureOfMemories(D, 2, { ...own, outputGate: false, ...EXACT });
          const [x, output] = run(layer);
          const scores = layer.gate.forward(x).softmax(-1).squeeze(0);
          const { indices } = scores.topk(2);
          const chosen = Array.from({ length: T }, (_, t) => [...indices.select(0, t).dataSync()]);
          const shares = fw.gather(scores, 1, indices).sum(-1);
          const rows = Array.from({ length: T }, () => fw.zeros([10], EXACT));
          for (let m = 0; m < 3; m++) {
            const tokens = Array.from({ length: T }, (_, t) => t).filter((t) => chosen[t].includes(m));
            const seen = x.indexSelect(1, fw.tensor(tokens, { dtype: 'int32', device: 'js' }));
            const proj = (list: fw.nn.ModuleList<fw.nn.Linear> | null, all: fw.nn.Linear | null): fw.Tensor =>
              (list?.at(m) ?? all!).forward(seen);
            const [q, k, v] = [
              layer.q_conv1d!.forward(layer.q_proj.forward(seen)),
              layer.k_conv1d!.forward(proj(layer.k_proj, layer.shared_k)),
              layer.v_conv1d!.forward(proj(layer.v_proj, layer.shared_v)),
            ].map((result) => result.output.reshape(1, tokens.length, 2, -1));
            const decay = proj(layer.a_proj, layer.shared_a).add(layer.dt_bias).softplus().mul(layer.A_log.exp().neg());
            const beta = proj(layer.b_proj, layer.shared_b).sigmoid();
            const read = fw.deltaRule(q, k, v, { beta, gate: decay, qkL2Norm: true }).output;
            tokens.forEach((t, i) => {
              const share = scores.select(0, t).select(0, m).div(shares.select(0, t));
              rows[t] = rows[t].add(read.select(1, i).reshape(10).mul(share));
            });
          }
          const read = fw.stack(rows, 0).reshape(1, T, 2, 5);
          const normed = read.div(read.square().mean(-1, true).add(1e-5).sqrt()).reshape(1, T, 10);
          expectClose('output', output.dataSync(), layer.o_proj.forward(normed).dataSync(), 1e-9);
        }
      }),
    ));

  it('Momentum DeltaNet splits a unit of change between what stays and what is written', () =>
    fw.noGrad(() =>
      fw.scope(() => {
        const layer = new models.MomentumDeltaNet(D, 2, EXACT);
        const [x, output] = run(layer);
        const of = (proj: fw.nn.Linear, conv: fw.nn.ShortConvolution): fw.Tensor =>
          heads(conv.forward(proj.forward(x)).output);
        const k = of(layer.k_proj, layer.k_conv1d);
        const q = of(layer.q_proj, layer.q_conv1d).sub(k.mul(layer.D_log.exp().reshape(2, 1)));
        const decay = (proj: fw.nn.Linear, log: fw.Tensor, bias: fw.Tensor): fw.Tensor =>
          log.exp().neg().mul(proj.forward(x).add(bias).softplus());
        const eta = layer.e_proj.forward(x).div(Math.sqrt(D)).tanh().add(1);
        const factors = eta.mul(layer.log_factor.exp());
        const theta = fw.tensor([...factors.dataSync()].map(Math.atan), { shape: factors.shape, ...EXACT });
        const gate = decay(layer.a_proj, layer.A_log, layer.dt_bias).add(theta.cos().square().log());
        const read = fw.momentumDeltaRule(fw.l2Norm(q), fw.l2Norm(k), of(layer.v_proj, layer.v_conv1d), {
          p: fw.l2Norm(k).mul(gate.exp().unsqueeze(-1)),
          gate,
          momentumGate: decay(layer.m_proj, layer.Mu_log, layer.mu_bias).maximum(-2),
          beta: layer.b_proj.forward(x).sigmoid().mul(theta.sin().square()),
          eta,
        }).output;
        const normed = read.div(read.square().mean(-1, true).add(1e-5).sqrt()).reshape(1, T, D);
        const expected = layer.o_proj.forward(normed.mul(layer.g_proj.forward(x).silu()));
        expectClose('output', output.dataSync(), expected.dataSync(), 1e-9);
      }),
    ));

  it('refuse sizes that do not divide, and options they do not have', () => {
    const js = { device: 'js' } as const;
    expectError(
      'INVALID_ARGUMENT',
      /ForgettingAttention: numHeads must be a divisor of 8/,
      () => new models.ForgettingAttention(D, 3, js),
    );
    expectError(
      'INVALID_ARGUMENT',
      /numKvHeads must be a divisor of 4/,
      () => new models.PaTHAttention(D, 4, { numKvHeads: 3, ...js }),
    );
    expectError(
      'INVALID_ARGUMENT',
      /windowSize must be/,
      () => new models.ForgettingAttention(D, 2, { windowSize: 0, ...js }),
    );
    expectError('INVALID_ARGUMENT', /variant must be/, () => new models.DeltaVariant(D, 2, 'oja' as never, js));
    expectError('INVALID_ARGUMENT', /numHeads must be a divisor/, () => new models.DeltaVariant(D, 3, 'efla', js));
    expectError('INVALID_ARGUMENT', /numHeads must be a divisor/, () => new models.LightNetAttention(D, 3, js));
    expectError(
      'INVALID_ARGUMENT',
      /featureDim must be/,
      () => new models.BasedLinearAttention(D, 2, { featureDim: 0, ...js }),
    );
    expectError('INVALID_ARGUMENT', /numHeads must be a divisor/, () => new models.BasedLinearAttention(D, 3, js));
    expectError(
      'INVALID_ARGUMENT',
      /unknown option keydim/,
      () => new models.RodimusAttention(D, { keydim: 3 } as never),
    );
    expectError('INVALID_ARGUMENT', /SlstmLayer: numHeads must be a divisor/, () => new models.SlstmLayer(D, 3, js));
    expectError('INVALID_ARGUMENT', /numHeads must be a divisor/, () => new models.MixtureOfMemories(D, 3, js));
    expectError('INVALID_ARGUMENT', /topK must be/, () => new models.MixtureOfMemories(D, 2, { topK: 5, ...js }));
    expectError(
      'INVALID_ARGUMENT',
      /DeltaFormerAttention: numHeads must be heads of an even width.*, got 4 of width 3/,
      () => new models.DeltaFormerAttention(12, 4, js),
    );
    const packed = (): unknown =>
      new models.PaTHAttention(D, 2, js).forward(fw.zeros([1, 4, D], js), { cuSeqlens: [0, 1, 4], outputState: true });
    expectError('UNSUPPORTED', /packed sequences have no state/, packed);
  });
});
