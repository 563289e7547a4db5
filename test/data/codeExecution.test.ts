// Code execution: labels against JavaScript that runs the programs, their grammar, and what is refused.
import { expect } from 'chai';
import { FastWeightsError } from '../../lib/core';
import { codeExecution, type CodeExecutionOptions, IGNORED } from '../../lib/data';
import { stepped } from '../../lib/data/tasks/codeExecution';

/** Programs as text with a label per token; padding, ignored labels and groups are checked on the way. */
function programs(options: CodeExecutionOptions, count = 60): { text: string; labels: number[] }[] {
  const task = codeExecution(options);
  const { inputs, labels, groups, sequenceLength: T } = task.batch(5, count);
  return Array.from({ length: count }, (_, b) => {
    const tokens = task.decode(inputs.subarray(b * T, b * T + T)).split(' ');
    const n = tokens.includes('.') ? tokens.indexOf('.') : T;
    expect(tokens.slice(n).every((token) => token === '.')).to.equal(true);
    const row = [...labels.subarray(b * T, b * T + T)];
    expect(row.map((label) => label === IGNORED)).to.eql(row.map((_, t) => t >= n));
    expect([...groups!.subarray(b * T, b * T + n)]).to.eql(row.slice(0, n).map((label) => Number(label > 0)));
    return { text: tokens.slice(0, n).join(' '), labels: row.slice(0, n) };
  });
}

/** What each print shows, null where it is not run, by translating the program. */
function printed(text: string, reassigns: boolean): (number | null)[] {
  const body = text
    .split(/(?<=;)/)
    .map((statement, i) => {
      const [, condition, plain] = /^(?:if (.*?) : )?(.*)$/.exec(statement.trim())!;
      let code = plain.replace(/^print (.) ;$/, `shown[${i}] = $1;`);
      if (condition && !reassigns) code = code.replace(/^(.) = (.) ;$/, '$1 ??= $2;');
      const silent = plain.startsWith('print') ? `shown[${i}] = null; ` : '';
      return silent + (condition ? `if (${condition}) { ${code} }` : code);
    })
    .join('\n');
  // eslint-disable-next-line @typescript-eslint/no-implied-eval, @typescript-eslint/no-unsafe-call
  const shown = new Function(`let x, y, z, a, b; const shown = []; ${body}; return shown;`)() as (number | null)[];
  return shown.filter((value) => value !== undefined);
}

describe('code execution', () => {
  for (const conditionalReassignment of [false, true]) {
    it(`labels say what prints show${conditionalReassignment ? ', with every assignment in effect' : ''}`, () => {
      let differs = 0;
      for (const variables of [1, 3, 5]) {
        for (const { text, labels } of programs({ variables, conditionalReassignment, statements: 60 })) {
          const shown = printed(text, conditionalReassignment);
          const tokens = text.split(' ');
          const places = tokens.flatMap((token, t) => (token === ';' && tokens[t - 2] === 'print' ? [t] : []));
          expect(places).to.have.lengthOf(shown.length);
          expect(labels, text).to.eql(
            tokens.map((_, t) => {
              const value = shown[places.indexOf(t)] ?? null;
              return value === null ? 0 : value + 9;
            }),
          );
          differs += Number(printed(text, !conditionalReassignment).join() !== shown.join());
        }
      }
      expect(differs, 'programs to which it makes a difference').to.be.above(60);
    });
  }

  it('draws statements of four kinds evenly, after an assignment and before a print', () => {
    const kinds = new Map<string, number>();
    for (const { text } of programs({ statements: 50 })) {
      const statements = text.split(/(?<=;) /);
      expect(statements).to.have.lengthOf(50);
      expect(statements[0]).to.match(/^[xyz] = \d ;$/);
      expect(statements[49]).to.match(/^print [xyz] ;$/);
      for (const one of statements)
        expect(one).to.match(/^(if [xyz] [<>] \d : )?([xyz] (= \d|\+\+|--)|print [xyz]) ;$/);
      for (const one of statements.slice(1, 49)) {
        const kind = one.startsWith('if') ? 'if' : one.startsWith('print') ? 'print' : one.includes('=') ? '=' : 'step';
        kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
      }
    }
    expect([...kinds.keys()].sort()).to.eql(['=', 'if', 'print', 'step']);
    for (const count of kinds.values()) expect(count / (60 * 48)).to.be.closeTo(0.25, 0.03);
  });

  it('keeps values within -8 and 16', () => {
    // Programs hardly ever get there.
    const turns = [-8, -7, 0, 15, 16].map((value) => [stepped(value, true), stepped(value, false)]);
    expect(turns).to.eql([
      [-7, -7],
      [-6, -8],
      [1, -1],
      [16, 14],
      [15, 15],
    ]);
    expect(codeExecution().vocabSize).to.equal(26);
    expect(codeExecution({ statements: 2 }).decode(codeExecution({ statements: 2 }).batch(0, 1).inputs)).to.match(
      /^([xyz]) = \d ; print \1 ;$/,
    );
  });

  it('refuses programs of one statement, and variables without a name', () => {
    expect(() => codeExecution({ statements: 1 })).to.throw(FastWeightsError, 'statements');
    expect(() => codeExecution({ variables: 6 })).to.throw(FastWeightsError, 'variables');
    expect(() => codeExecution({ conditionalReassignment: 1 as unknown as boolean })).to.throw(
      FastWeightsError,
      'conditionalReassignment',
    );
  });
});
