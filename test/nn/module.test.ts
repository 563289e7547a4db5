// Modules: names, states, moving, layers.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectError } from '../support/errors';

const { nn } = fw;

class Block extends nn.Module {
  proj = new nn.Linear(4, 4);
  norms = [new nn.RMSNorm(4), new nn.LayerNorm(4)];
  tied = this.proj;
}

describe('modules', () => {
  it('name their parameters like the weight file, tied ones once', () => {
    const block = new Block();
    expect(block.namedParameters().map(([name]) => name)).to.deep.equal([
      'proj.weight',
      'proj.bias',
      'norms.0.weight',
      'norms.1.weight',
      'norms.1.bias',
    ]);
    expect(block.parameterCount).to.equal(16 + 4 * 4);
  });

  it('load a state only when every name and shape fits', () => {
    const block = new Block();
    const state = block.stateDict();
    const other = new Block();
    other.loadStateDict(state);
    expect(other.proj.weight.dataSync()).to.deep.equal(block.proj.weight.dataSync());
    const before = other.proj.bias!.dataSync();
    const { 'norms.0.weight': _, ...missing } = state;
    expectError('INVALID_ARGUMENT', /without norms\.0\.weight and with unknown extra/, () =>
      other.loadStateDict({ ...missing, extra: state['proj.bias'] }),
    );
    expectError('SHAPE', /norms\.1\.bias must be \[4\]/, () =>
      other.loadStateDict({ ...state, 'proj.bias': fw.ones([4]), 'norms.1.bias': fw.ones([5]) }),
    );
    expect(other.proj.bias!.dataSync()).to.deep.equal(before);
    other.loadStateDict({ 'proj.bias': fw.ones([4]) }, { strict: false });
    expect(other.proj.bias!.tolist()).to.deep.equal([1, 1, 1, 1]);
  });

  it('load what lies in their own memory as it was before, and refuse what is no float', () => {
    const block = new Block();
    const [first, second] = [block.norms[0].weight, block.norms[1].weight];
    fw.noGrad(() => [first.fill_(2), second.fill_(3)]);
    block.loadStateDict({ 'norms.0.weight': second, 'norms.1.weight': first.detach() }, { strict: false });
    expect([first.tolist(), second.tolist()]).to.deep.equal([
      [3, 3, 3, 3],
      [2, 2, 2, 2],
    ]);
    const gone = fw.ones([4]);
    gone.dispose();
    const wrong: [fw.ErrorCode, unknown][] = [
      ['DTYPE', fw.ones([4], { dtype: 'int32' })],
      ['DISPOSED', gone],
      ['SHAPE', fw.ones([1])],
      ['INVALID_ARGUMENT', [1, 1, 1, 1]],
      ['INVALID_ARGUMENT', undefined],
    ];
    for (const [code, source] of wrong) {
      const state = { 'norms.0.weight': fw.ones([4]), 'norms.1.weight': source } as Record<string, fw.Tensor>;
      expectError(code, /./, () => block.loadStateDict(state, { strict: false }));
      expect(first.tolist()).to.deep.equal([3, 3, 3, 3]);
    }
    expectError('INVALID_ARGUMENT', /did you mean strict/, () => block.loadStateDict({}, { stirct: false } as never));
    expectError('INVALID_ARGUMENT', /state/, () => block.loadStateDict(null as never));
  });

  it('know their device after moves, loads and other parameters', () => {
    class Net extends nn.Module {
      config = { sizes: [1, 2] };
      empty = new (class extends nn.Module {})();
      inner = { hidden: new Map([['a', 1]]) };
      layers = [new nn.Linear(2, 2, { device: 'js' })];
    }
    const net = new Net();
    expect(net.device).to.equal('js');
    const [{ device }] = fw.devices().filter(({ available }) => available);
    expect(net.to(device).device).to.equal(device);
    net.loadStateDict(new Net().stateDict());
    expect(net.device).to.equal(device);
    net.layers[0] = new nn.Linear(2, 2, { device: 'js' });
    expect(net.device).to.equal('js');
    net.layers[0].weight = nn.parameter(fw.ones([2, 2], { device }));
    expect(net.device).to.equal(device);
    expectError('INVALID_ARGUMENT', /no parameters/, () => net.empty.device);
    // Asking costs a look at the first one, not at all of them.
    const deep = new Net();
    deep.layers.push(new Proxy(new nn.Linear(1, 1), { ownKeys: () => expect.fail('walked on') }));
    expect(deep.device).to.equal('js');
  });

  it('move and cast, keeping ties, and survive scopes', () => {
    const block = fw.scope(() => new Block());
    block.to('js').to('bfloat16');
    expect(block.device).to.equal('js');
    expect(block.proj.weight.dtype).to.equal('bfloat16');
    expect(block.tied.weight).to.equal(block.proj.weight);
    expect(block.proj.weight.requiresGrad).to.equal(true);
    block.dispose();
    expect(block.proj.weight.isDisposed).to.equal(true);
  });

  it('train and eval reach every child', () => {
    const dropout = new nn.Dropout(0.5);
    const x = fw.ones([1000]);
    expect(dropout.forward(x).mean().item()).to.be.closeTo(1, 0.2);
    dropout.eval();
    const same = dropout.forward(x);
    expect(same, 'a handle of its own').not.to.equal(x);
    expect(same.dataSync()).to.eql(x.dataSync());
  });

  it('short convolution: one token at a time gives what the whole sequence gives', () => {
    const conv = new nn.ShortConvolution(6, 4, { bias: true });
    const x = fw.randn([2, 9, 6]);
    const { output, finalState } = conv.forward(x, { outputFinalState: true });
    const state = conv.initialState(2);
    const steps = fw.noGrad(() =>
      Array.from({ length: 9 }, (_, t) => conv.step(x.slice(1, t, t + 1).squeeze(1), state)),
    );
    const error = fw.stack(steps, 1).sub(output.detach()).abs().max().item();
    expect(error).to.be.lessThan(1e-6);
    expect(state.sub(finalState.detach()).abs().max().item()).to.equal(0);
  });
});

class Counted extends nn.Module {
  weight = nn.parameter(fw.tensor([1, 2, 3, 4, 5, 6], { shape: [2, 3] }));
  row = nn.parameter(this.weight.detach().slice(0, 1));
  frozen = nn.parameter(fw.ones([3]));
  count = this.registerBuffer('count', fw.tensor([7, 300], { dtype: 'int32' }));
  last = this.registerBuffer('last', null as fw.Tensor | null);
  empty = nn.parameter(fw.zeros([0, 3]));

  constructor() {
    super();
    nn.freeze(this, 'frozen');
  }
}

for (const target of [...fw.devices().flatMap((d) => (d.available ? [d.device] : [])), 'bfloat16'] as const) {
  describe(`modules to ${target}`, () => {
    const isDevice = target !== 'bfloat16';
    const make = (): Counted => {
      const module = new Counted();
      return isDevice && target === module.device ? module.to('js') : module;
    };

    it('keep their tensors, values, gradients, and what shares memory', () => {
      const module = make();
      const before = [...module.namedParameters(), ...module.namedBuffers()];
      const view = module.weight.detach();
      const device = module.device;
      module.weight.grad = fw.full([2, 3], 0.5, { device }).persist();
      const { grad } = module.weight;
      expect(module.to(target)).to.equal(module);
      expect([...module.namedParameters(), ...module.namedBuffers()]).to.deep.equal(before);
      for (const [name, t] of before) {
        expect(t.device, name).to.equal(isDevice ? target : device);
        expect(t.dtype, name).to.equal(name === 'count' ? 'int32' : isDevice ? 'float32' : target);
      }
      expect([module.weight.requiresGrad, module.row.requiresGrad, module.frozen.requiresGrad]).to.eql([
        true,
        true,
        false,
      ]);
      expect(module.weight.grad).to.equal(grad);
      expect([grad.device, grad.dtype]).to.eql([module.weight.device, module.weight.dtype]);
      expect(grad.tolist()).to.eql([
        [0.5, 0.5, 0.5],
        [0.5, 0.5, 0.5],
      ]);
      expect(module.count.tolist()).to.eql([7, 300]);
      fw.noGrad(() => module.weight.fill_(9));
      expect(module.row.tolist()).to.eql([[9, 9, 9]]);
      // A view made before keeps the memory it had.
      expect([view.device, view.dtype, view.tolist()]).to.eql([
        device,
        'float32',
        [
          [1, 2, 3],
          [4, 5, 6],
        ],
      ]);
      module.dispose();
    });

    it('an optimiser goes on with them, its state with it', () => {
      const run = (move: boolean): { module: Counted; optimizer: fw.optim.AdamW; values: number[] } => {
        const module = make();
        module.frozen.requiresGrad = true;
        const named = module.namedParameters().filter(([name]) => name === 'frozen');
        const optimizer = new fw.optim.AdamW(named, { lr: 0.125, weightDecay: 0 });
        for (let step = 0; step < 6; step++) {
          if (step === 3 && move) module.to(target);
          const { device, dtype } = module.frozen;
          module.frozen.grad = fw.tensor([1, -0.5, step], { device, dtype });
          optimizer.step();
        }
        return { module, optimizer, values: Array.from(module.frozen.to('float32').dataSync()) };
      };
      const [stayed, moved] = [run(false), run(true)];
      moved.values.forEach((x, i) => expect(x).to.be.closeTo(stayed.values[i], isDevice ? 1e-6 : 2e-2));
      const { tensors, steps, parameterSteps } = moved.optimizer.state();
      expect([steps, parameterSteps]).to.eql([6, { frozen: 6 }]);
      expect(Object.keys(tensors).sort()).to.eql(
        ['frozen.mean', ...(isDevice ? [] : ['frozen.master']), 'frozen.square'].sort(),
      );
      for (const t of Object.values(tensors)) expect([t.dtype, t.device]).to.eql(['float32', moved.module.device]);
      // Back in float32 there is nothing to round.
      moved.module.to('float32');
      expect(Object.keys(moved.optimizer.state().tensors)).to.eql(['frozen.mean', 'frozen.square']);
    });

    it('cannot be moved between a forward and its backward pass', () => {
      const module = make();
      const loss = module.weight.square().sum();
      module.to(target);
      expectError('GRAPH', /a parameter of shape \[2, 3\] was moved by to\(\)/, () => loss.backward());
      expect(module.weight.grad).to.equal(null);
      module.weight.square().sum().backward();
      expect(module.weight.grad!.dtype).to.equal(module.weight.dtype);
    });

    it('are moved whole or not at all', () => {
      const module = make();
      const { device } = module;
      for (const [code, last] of [
        ['GRAPH', module.weight.mul(2)],
        ['DISPOSED', fw.ones([1], { device })],
      ] as const) {
        if (code === 'DISPOSED') last.dispose();
        Object.assign(module, { last });
        expectError(code, /Module.to/, () => module.to(target));
        expect([module.weight.device, module.weight.dtype]).to.eql([device, 'float32']);
      }
    });
  });
}

describe('modules to what is no place for them', () => {
  it('is refused', () => {
    const module = new Counted();
    expectError('DTYPE', /Module.to: target must be 'float32'/, () => module.to('int32'));
    for (const target of ['tpu', undefined, 3])
      expectError('INVALID_ARGUMENT', /device/, () => module.to(target as never));
    if (module.device !== 'js') expectError('DTYPE', /float64/, () => module.to('float64'));
    expect(module.weight.dtype).to.equal('float32');
  });

  it('leaves a master in float32 where a bfloat16 module changes its device', () => {
    const module = new Counted().to('js').to('bfloat16');
    const optimizer = new fw.optim.SGD([['w', module.weight]], { lr: 1e-3 });
    const step = (): void => {
      const { device, dtype, shape } = module.weight;
      module.weight.grad = fw.ones(shape, { device, dtype });
      optimizer.step();
    };
    step();
    const [{ device }] = fw.devices().filter((d) => d.available);
    module.to(device);
    step();
    const expected = Float32Array.from([1, 2, 3, 4, 5, 6], (x) => Math.fround(Math.fround(x - 1e-3) - 1e-3));
    optimizer
      .state()
      .tensors['w.master'].dataSync()
      .forEach((x, i) => expect(x).to.be.closeTo(expected[i], 1e-6));
  });
});
