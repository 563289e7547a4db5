// Newer rules that are settings of the general recurrence, and have no vectors, each against two loops over its equations.
import * as fw from '../../lib';
import type { HostInputs } from '../support/ruleInputs';
import {
  B,
  H,
  K,
  T,
  answers,
  called,
  keyed,
  outer,
  overHeads,
  overTokens,
  perHead,
  sigmoid,
  wide,
  write,
} from '../support/ruleLoops';
import { describeLoops, dot, readRows } from '../support/twoLoops';

describeLoops({
  title: 'efla',
  // Some keys next to nothing, some flows that end where they lead to.
  draw: (d) => {
    const inputs: HostInputs = { ...keyed(d), beta: perHead(d, 0, 3) };
    inputs.k.data.forEach((x, i) => (inputs.k.data[i] = Math.fround(x * [1, 1e-3, 0, 5][Math.floor(i / K) % 4])));
    return inputs;
  },
  numbers: (inputs) =>
    overHeads(inputs, (S, { q, k, v }, { beta }) => {
      const n = dot(k, k);
      const a = n === 0 ? beta : -Math.expm1(-beta * n) / n;
      const known = readRows(S, k);
      write(
        S,
        k,
        v.map((x, j) => a * (x - known[j])),
      );
      return readRows(S, q);
    }),
  tensors: (inputs) =>
    overTokens(inputs, (W, { k, v, beta }) => {
      // exp(-beta k k^T) as a matrix, by its series of scaled and squared steps, and the integral of it over the flow.
      const A = outer(k, k)
        .mul(wide(beta, 2))
        .mul(2 ** -10);
      const one = fw.eye(K, { device: 'js', dtype: 'float64' });
      let [power, mean] = [one.expand(B, H, K, K), one.expand(B, H, K, K)];
      let term = power;
      for (let n = 1; n < 9; n++) {
        term = term.matmul(A).mul(-1 / n);
        power = power.add(term);
        mean = mean.add(term.mul(1 / (n + 1)));
      }
      for (let n = 0; n < 10; n++) {
        mean = mean.add(mean.matmul(power)).mul(0.5);
        power = power.matmul(power);
      }
      return W.matmul(power).add(outer(v, fw.einsum('bhij,bhj->bhi', mean, k)).mul(wide(beta, 2)));
    }),
  ...called(fw.efla),
});

describeLoops({
  title: 'qDeltaRule',
  draw: (d) => ({
    ...keyed(d),
    queryShare: perHead(d, 0, 1),
    beta: perHead(d, 0, 1),
    gate: perHead(d, -1, 0),
  }),
  numbers: (inputs) =>
    overHeads(inputs, (S, { q, k, v }, { queryShare, beta, gate }) => {
      S.forEach((row) => row.forEach((x, j) => (row[j] = Math.exp(gate) * x)));
      const known = readRows(
        S,
        k.map((x, i) => x + queryShare * q[i]),
      );
      write(
        S,
        k,
        v.map((x, j) => beta * (x - known[j])),
      );
      return readRows(S, q);
    }),
  tensors: (inputs) =>
    overTokens(inputs, (W, { q, k, v, queryShare, beta, gate }) => {
      const decayed = W.mul(wide(gate.exp(), 2));
      const erased = outer(answers(decayed, k).add(answers(decayed, q).mul(wide(queryShare))), k);
      return decayed.add(outer(v, k).sub(erased).mul(wide(beta, 2)));
    }),
  ...called(fw.qDeltaRule),
});

describeLoops({
  title: 'kaczmarzAttention',
  draw: (d) => ({ ...keyed(d), eta: perHead(d, 0, 1), gate: perHead(d, -1, 0) }),
  numbers: (inputs) =>
    overHeads(inputs, (S, { q, k, v }, { eta, gate }) => {
      S.forEach((row) => row.forEach((x, j) => (row[j] = Math.exp(gate) * x)));
      const known = readRows(S, k);
      write(
        S,
        k,
        v.map((x, j) => (eta / (dot(k, k) + 0.01)) * (x - known[j])),
      );
      return readRows(S, q);
    }),
  tensors: (inputs) =>
    overTokens(inputs, (W, { k, v, eta, gate }) => {
      const direction = k.div(fw.einsum('bhk,bhk->bh', k, k).add(0.01).unsqueeze(-1));
      const one = fw.eye(K, { device: 'js', dtype: 'float64' });
      const left = one.sub(outer(direction, k).transpose(2, 3).mul(wide(eta, 2)));
      const after = W.mul(wide(gate.exp(), 2)).matmul(left.transpose(2, 3));
      return after.add(outer(v.mul(wide(eta)), direction));
    }),
  ...called(fw.kaczmarzAttention, { eps: 0.01 }),
});

describeLoops({
  title: 'rodimus',
  draw: (d) => ({
    ...keyed(d),
    gateLogit: d.uniform([B, T, H, K], -40, 4),
    temperatureLogit: d.uniform([B, T, H, K], -2, 2),
  }),
  numbers: (inputs) =>
    overHeads(inputs, (S, { q, k, v, gateLogit, temperatureLogit }) => {
      const soft = gateLogit.map((g) => Math.log1p(Math.exp(g)));
      const tau = temperatureLogit.map(sigmoid);
      S.forEach((row, i) => row.forEach((x, j) => (row[j] = Math.exp(-soft[i] * tau[i]) * x)));
      write(
        S,
        k.map((x, i) => (x / Math.sqrt(dot(k, k))) * soft[i] ** tau[i]),
        v,
      );
      return readRows(S, q);
    }),
  tensors: ({ q, k, v, gateLogit, temperatureLogit }) => {
    // What each query finds of each write, all at once.
    const tau = fw.tensor([1], { device: 'js', dtype: 'float64' }).div(temperatureLogit.neg().exp().add(1));
    const soft = gateLogit.exp().log1p();
    const total = soft.mul(tau).cumsum(1);
    const keys = k.div(k.square().sum(-1, true).sqrt()).mul(soft.pow(tau));
    const left = total.unsqueeze(1).sub(total.unsqueeze(2)).exp();
    const seen = fw.tril(fw.ones([T, T], { device: 'js', dtype: 'float64' })).reshape(1, T, T, 1, 1);
    const met = q.unsqueeze(2).mul(left.mul(seen)).mul(keys.unsqueeze(1)).sum(-1);
    const lasting = total
      .sub(total.slice(1, T - 1))
      .exp()
      .mul(keys);
    return {
      output: fw.einsum('btsh,bshv->bthv', met, v).mul(K ** -0.5),
      finalState: fw.einsum('bshk,bshv->bhkv', lasting, v),
    };
  },
  ...called(fw.rodimus),
});
