// The tree of a module: containers, buffers, members in plain lists, maps and records, what cannot be found, what has no end.
import { expect } from 'chai';
import * as fw from '../../lib';
import { expectError } from '../support/errors';

const { nn } = fw;
const names = (module: fw.nn.Module): string[] => module.namedParameters().map(([name]) => name);
const bare = { bias: false };

describe('trees of modules', () => {
  it('find members in lists, maps and records, however deep, under the names of checkpoints', () => {
    class Net extends nn.Module {
      layers = [new nn.Linear(2, 2, bare), [new nn.RMSNorm(2)]];
      heads = new Map<string | number, unknown>([
        ['a', { proj: new nn.Linear(2, 1, bare) }],
        [3, nn.parameter(fw.ones([1]))],
      ]);
      scales = { own: nn.parameter(fw.ones([2])), config: { size: 3, names: ['x'] } };
      parts = new Set<unknown>([3, new nn.RMSNorm(2), 'x', [nn.parameter(fw.ones([1]))]]);
      bytes = new Float32Array(4);
      date = new Date();
    }
    const net = new Net();
    expect(names(net)).to.eql([
      'heads.3',
      'scales.own',
      'parts.3.0',
      'layers.0.weight',
      'layers.1.0.weight',
      'heads.a.proj.weight',
      'parts.1.weight',
    ]);
    const paths = ['', 'layers.0', 'layers.1.0', 'heads.a.proj', 'parts.1'];
    expect([...net.namedModules()].map(([path]) => path)).to.eql(paths);
    net.eval();
    expect([...net.namedModules()].every(([, part]) => !part.training)).to.equal(true);
    const keyed = Object.assign(new Net(), { odd: new Map([[{}, new nn.RMSNorm(2)]]) });
    expectError('INVALID_ARGUMENT', /odd must be a map with strings as keys/, () => keyed.parameters());
  });

  it('containers put their members directly under their name, and forward in order', () => {
    class Net extends nn.Module {
      chain = new nn.Sequential(new nn.Linear(3, 4), new nn.ReLU(), new nn.Linear(4, 2, bare));
      list = new nn.ModuleList([new nn.RMSNorm(2)]);
      dict = new nn.ModuleDict({ b: new nn.RMSNorm(2), a: new nn.RMSNorm(2) });
      named = new nn.Sequential({ first: new nn.Linear(2, 2, bare), act: new nn.Tanh() });
    }
    const net = new Net();
    net.list.append(new nn.RMSNorm(2)).insert(0, new nn.RMSNorm(2));
    expect(names(net)).to.eql([
      'chain.0.weight',
      'chain.0.bias',
      'chain.2.weight',
      'list.0.weight',
      'list.1.weight',
      'list.2.weight',
      'dict.b.weight',
      'dict.a.weight',
      'named.first.weight',
    ]);
    expect([net.chain.length, net.list.length, net.dict.size]).to.eql([3, 3, 2]);
    expect(net.list.at(-1)).to.equal([...net.list][2]);
    expect([net.chain.at(-1), net.named.at(1), net.named.get('act')]).to.eql([
      [...net.chain][2],
      [...net.named][1],
      [...net.named][1],
    ]);
    expectError('INVALID_ARGUMENT', /Sequential: position/, () => net.chain.at(3));
    expectError('INVALID_ARGUMENT', /Sequential: name must be first \| act, got "0"/, () => net.named.get('0'));
    expect([...net.dict.keys()]).to.eql(['b', 'a']);
    const x = fw.randn([5, 3]);
    const [first, , last] = [...net.chain] as [fw.nn.Linear, fw.nn.ReLU, fw.nn.Linear];
    expect(net.chain.forward(x).tolist()).to.eql(last.forward(first.forward(x).relu()).tolist());
    expect(new nn.Sequential().forward(x)).not.to.equal(x);
    expectError('INVALID_ARGUMENT', /modules\.1 must be a Module, got 3/, () => new nn.Sequential(first, 3 as never));
    expectError('INVALID_ARGUMENT', /modules\.0 must be a Module with forward/, () => new nn.Sequential(net as never));
    expectError('INVALID_ARGUMENT', /b \| a/, () => net.dict.get('c'));
    expectError('INVALID_ARGUMENT', /without a dot/, () => net.dict.set('c.d', first as never));
    expectError('INVALID_ARGUMENT', /position/, () => net.list.at(3));
  });

  it('count a module that stands in two places once, and name it by both on request', () => {
    const shared = new nn.Linear(2, 2, bare);
    const net = new nn.Sequential(shared, new nn.Sequential(shared));
    expect(names(net)).to.eql(['0.weight']);
    expect([...net.namedModules()].length).to.equal(3);
    expect(net.parameterCount).to.equal(4);
    const all = net.namedParameters({ removeDuplicate: false }).map(([name]) => name);
    expect(all).to.eql(['0.weight', '1.0.weight']);
  });

  it('refuse cycles of modules and of containers', () => {
    class Node extends nn.Module {
      proj = new nn.Linear(1, 1);
      parts: Record<string, unknown> = {};
    }
    const [root, child] = [new Node(), new Node()];
    root.parts.child = child;
    child.parts.up = [root];
    for (const use of [() => root.parameters(), () => root.eval(), () => root.stateDict(), () => root.to('js')]) {
      expectError('INVALID_ARGUMENT', /parts\.child\.parts\.up\.0 holds what it stands in/, use);
    }
    const looped = new Node();
    looped.parts.self = looped.parts;
    expectError('INVALID_ARGUMENT', /parts\.self holds what it stands in/, () => looped.parameters());
  });

  it('take no other tensor for a parameter: neither saved, counted, moved, trained nor freed', () => {
    class Net extends nn.Module {
      mask = fw.ones([2, 2]).tril();
      table = { ids: fw.zeros([3], { dtype: 'int32' }), seen: new Map([[{}, fw.ones([2], { dtype: 'bool' })]]) };
      leaf = fw.ones([2], { requiresGrad: true });
      proj = new nn.Linear(2, 2, bare);
      result: fw.Tensor | null = null;
      forward(x: fw.Tensor): fw.Tensor {
        this.result = this.proj.forward(x).mul(this.mask);
        return this.result;
      }
    }
    const net = new Net();
    const own = ['leaf', 'proj.weight'];
    const { mask } = net;
    net.forward(fw.ones([2, 2]));
    expect([names(net), Object.keys(net.stateDict()), net.parameterCount]).to.eql([own, own, 6]);
    nn.addLora(net, { rank: 1, alpha: 1, targets: 'proj' });
    nn.removeLora(net);
    // What is frozen stays a parameter, the leaf that `parameter` did not make, too.
    expect([names(net), Object.keys(net.stateDict())]).to.eql([own, own]);
    expect(net.leaf.requiresGrad).to.equal(false);
    net.to('js').to('float64').to('float32');
    expect(names(net)).to.eql(own);
    expect(nn.unfreeze(net)).to.eql(own);
    expect(mask.requiresGrad).to.equal(false);
    const { device } = fw.ones([1]);
    expect([mask.device, mask.dtype, net.table.ids.device]).to.eql([device, 'float32', device]);
    net.dispose();
    expect([mask.isDisposed, net.leaf.isDisposed]).to.eql([false, true]);
  });

  it('refuse two members of one name', () => {
    const collide = (a: unknown, b: unknown): fw.nn.Module =>
      Object.assign(new nn.ModuleList(), { 'a.b': a, a: { b } });
    const p = (): fw.Tensor => nn.parameter(fw.ones([1]));
    const nets = [collide(p(), p()), collide(new nn.Linear(1, 1), new nn.Linear(1, 1))];
    nets.push(
      Object.assign(new nn.Identity(), {
        a: new Map<unknown, fw.Tensor>([
          [1, p()],
          ['1', p()],
        ]),
      }),
    );
    for (const net of nets) {
      for (const use of [() => net.stateDict(), () => net.parameters(), () => net.to('js')]) {
        const { argument, expected } = expectError('INVALID_ARGUMENT', /two members are called a\.(b|1)/, use);
        expect([argument, expected]).to.eql([argument, 'a name of its own']);
      }
    }
    expectError('INVALID_ARGUMENT', /called a\.b/, () => collide(new nn.ReLU(), new nn.ReLU()).eval());
    const once = p();
    expect(names(collide(once, once))).to.eql(['a.b']);
  });

  it('refuse parameters and modules in #private fields, by name', () => {
    class Field extends nn.Module {
      // #old = new nn.Linear(1, 1);
      #proj = new nn.Linear(2, 2);
      forward = (x: fw.Tensor): fw.Tensor => this.#proj.forward(x);
    }
    class Assigned extends nn.Module {
      #list: fw.nn.Module[] = [];
      #scale: fw.Tensor;
      constructor() {
        super();
        this.#scale = nn.parameter(fw.ones([1]));
      }
      forward = (): unknown => [this.#scale, this.#list];
    }
    class Lists extends nn.Module {
      #layers = Array.from({ length: 2 }, () => new nn.RMSNorm(2));
      forward = (): unknown => this.#layers;
    }
    class Derived extends Field {}
    for (const [Class, field] of [
      [Field, 'Field keeps #proj'],
      [Assigned, 'Assigned keeps #scale'],
      [Lists, 'Lists keeps #layers'],
      [Derived, 'Field keeps #proj'],
    ] as const) {
      for (const net of [new Class(), new nn.ModuleList([new Class()])]) {
        expectError('INVALID_ARGUMENT', new RegExp(`${field} where no parameter can be found`), () => net.parameters());
      }
    }
    class Fine extends nn.Module {
      #calls = 0;
      #cache = new Map<string, number>();
      private readonly proj = new nn.Linear(2, 2, bare);
      #weights: fw.Tensor[] = [];
      forward(x: fw.Tensor): fw.Tensor {
        this.#calls++;
        this.#cache.set('calls', this.#calls);
        this.#weights = [...this.#weights, x];
        return this.#calls === 1 ? this.proj.forward(x) : x;
      }
    }
    expect(names(new Fine())).to.eql(['proj.weight']);
  });
});

class Tracked extends nn.Module {
  weight = nn.parameter(fw.ones([2]));
  mean = this.registerBuffer('mean', fw.zeros([2]));
  count = this.registerBuffer('count', fw.zeros([], { dtype: 'int32' }));
  mask = this.registerBuffer('mask', fw.ones([2], { dtype: 'bool' }), { persistent: false });
  none = this.registerBuffer('none', null as fw.Tensor | null);
}

describe('buffers', () => {
  it('are no parameters, are saved unless told otherwise, and move with the module', () => {
    const net = new nn.Sequential({ inner: Object.assign(new Tracked(), { forward: (x: fw.Tensor) => x }) });
    const [inner] = [...net] as unknown as [Tracked];
    expect(names(net)).to.eql(['inner.weight']);
    expect(net.namedBuffers().map(([name]) => name)).to.eql(['inner.mean', 'inner.count', 'inner.mask']);
    expect(Object.keys(net.stateDict())).to.eql(['inner.weight', 'inner.mean', 'inner.count']);
    const { mean } = inner;
    net.to('js').to('float64');
    expect([mean, inner.count, inner.mask].map((t) => [t.device, t.dtype])).to.eql([
      ['js', 'float64'],
      ['js', 'int32'],
      ['js', 'bool'],
    ]);
    expect(inner.mean).to.equal(mean);
    // What a scope made stays.
    expect(fw.scope(() => new Tracked()).mask.tolist()).to.eql([1, 1]);
    const other = new Tracked();
    fw.noGrad(() => [other.mean.fill_(3), other.count.fill_(7)]);
    inner.loadStateDict(other.stateDict());
    expect([inner.mean.tolist(), inner.count.item()]).to.eql([[3, 3], 7]);
    expectError('DTYPE', /count must be int32, got bool/, () =>
      inner.loadStateDict({ count: fw.zeros([], { dtype: 'bool' }) }, { strict: false }),
    );
    net.dispose();
    expect([inner.mean, inner.mask].map((t) => t.isDisposed)).to.eql([true, true]);
  });

  it('stay buffers when another tensor takes their place', () => {
    const net = new Tracked();
    net.none = fw.ones([1]);
    net.mean = fw.ones([2]);
    expect(names(net)).to.eql(['weight']);
    expect(Object.keys(net.stateDict())).to.eql(['weight', 'mean', 'count', 'none']);
  });

  it('need a name of their own and a tensor without a gradient', () => {
    const net = new Tracked();
    for (const name of ['a.b', '', 'weight', 'train', 'device', 3 as never]) {
      expectError('INVALID_ARGUMENT', /registerBuffer: name must be/, () => net.registerBuffer(name, fw.ones([1])));
    }
    expectError('GRAPH', /requires a gradient/, () => net.registerBuffer('x', fw.ones([1], { requiresGrad: true })));
    expectError('INVALID_ARGUMENT', /tensor must be a tensor or null/, () => net.registerBuffer('x', 3 as never));
  });
});
