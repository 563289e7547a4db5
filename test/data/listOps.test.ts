// ListOps: values against a stack machine that reads the tokens, depth, shares of digits, and what is refused.
import { expect } from 'chai';
import { FastWeightsError } from '../../lib/core';
import { IGNORED, listOps, type ListOpsOptions } from '../../lib/data';

/** Expressions as tokens, each with its one label. */
function drawn(options: ListOpsOptions, count = 100): { tokens: string[]; value: number }[] {
  const task = listOps(options);
  const { inputs, labels, sequenceLength: T } = task.batch(3, count);
  return Array.from({ length: count }, (_, b) => {
    const all = task.decode(inputs.subarray(b * T, b * T + T)).split(' ');
    const tokens = all.filter((token) => token !== '.');
    expect(all.slice(tokens.length).every((token) => token === '.')).to.equal(true);
    const row = [...labels.subarray(b * T, b * T + T)];
    expect(row.filter((label) => label !== IGNORED)).to.eql([row[tokens.length - 1]]);
    return { tokens, value: row[tokens.length - 1] };
  });
}

/** Value and greatest depth of a digit, by a stack of open operators. */
function evaluate(tokens: readonly string[]): { value: number; deepest: number; most: number } {
  const stack: { operator: string; values: number[] }[] = [{ operator: '', values: [] }];
  let [deepest, most] = [0, 0];
  for (const token of tokens) {
    if (token.startsWith('[')) stack.push({ operator: token, values: [] });
    else if (token === ']') {
      const { operator, values } = stack.pop()!;
      expect(values.length, tokens.join(' ')).to.be.above(1);
      most = Math.max(most, values.length);
      const sorted = [...values].sort((a, b) => a - b);
      const value = { '[MIN': sorted[0], '[MAX': sorted[sorted.length - 1], '[FIRST': values[0] }[operator]!;
      stack[stack.length - 1].values.push(value);
    } else {
      stack[stack.length - 1].values.push(Number(token));
      deepest = Math.max(deepest, stack.length);
    }
  }
  expect(stack, tokens.join(' ')).to.have.lengthOf(1);
  expect(stack[0].values, tokens.join(' ')).to.have.lengthOf(1);
  return { value: stack[0].values[0], deepest, most };
}

describe('ListOps', () => {
  it('labels the last token with the value, at the depth that was asked for', () => {
    for (const options of [
      { depth: 2, maxLength: 8 },
      { depth: 4, maxLength: 64 },
      { depth: 6, maxLength: 200, maxArguments: 3 },
      { depth: 11, maxLength: 400 },
      { depth: 3, maxLength: 40, inverted: false },
    ] satisfies ListOpsOptions[]) {
      const all = drawn(options, 40);
      for (const { tokens, value } of all) {
        const found = evaluate(tokens);
        expect(value, tokens.join(' ')).to.equal(found.value);
        expect(found.deepest, tokens.join(' ')).to.equal(options.depth);
        expect(tokens.length).to.be.most(options.maxLength);
      }
      const most = Math.max(...all.map(({ tokens }) => evaluate(tokens).most));
      expect(most).to.equal(options.maxArguments ?? 5);
    }
  });

  it('fills places below the first operator with digits three times in four, or as its comment says', () => {
    /** Of the outermost operator's arguments. */
    const share = (inverted: boolean): number => {
      const places = drawn({ depth: 3, maxLength: 40, maxArguments: 3, inverted }, 1000).flatMap(({ tokens }) => {
        let open = 0;
        return tokens.flatMap((token) => {
          const place = open === 1 && token !== ']' ? [token] : [];
          open += token.startsWith('[') ? 1 : token === ']' ? -1 : 0;
          return place;
        });
      });
      return places.filter((token) => !token.startsWith('[')).length / places.length;
    };
    // Of 2 or 3 places j are operators, one at least, with 2 or 3 digits each; d is how probable a digit is.
    for (const [inverted, d] of [
      [true, 0.75],
      [false, 0.25],
    ] as const) {
      const digits = (d ** 2 + d ** 3) / 2;
      let [those, all] = [0, 0];
      for (const n of [2, 3]) {
        for (let j = 1; j <= n; j++) {
          const ways = n === 3 && j < 3 ? 3 : n === 2 && j === 1 ? 2 : 1;
          const weight = ways * d ** (n - j) * ((1 - d) * digits) ** j;
          those += weight * (n - j);
          all += weight * n;
        }
      }
      expect(share(inverted)).to.be.closeTo(those / all, 0.02);
    }
  });

  it('refuses a length that its depth does not fit into', () => {
    const refused: [ListOpsOptions, string][] = [
      [{ depth: 8, maxLength: 12 }, 'maxLength must be long enough for depth 8'],
      [{ depth: 1 }, 'depth'],
      [{ depth: 21 }, 'depth'],
      [{ maxArguments: 1 }, 'maxArguments'],
    ];
    for (const [options, message] of refused)
      expect(() => listOps(options), JSON.stringify(options)).to.throw(FastWeightsError, message);
  });
});
