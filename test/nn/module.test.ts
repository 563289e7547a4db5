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
    expect(dropout.forward(x)).to.equal(x);
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
