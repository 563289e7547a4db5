// Code execution (spec 3.4): programs of assignments, increments, conditionals and prints, read token by token; what a print
// shows is the label of its semicolon.
import { checkInteger, checkOptions, type HostRandom, type OptionNames } from '../../core';
import type { Dataset } from '../dataset';
import { sequenceTask, TASK_OPTIONS, type TaskOptions } from './sequence';

/** Options of `codeExecution`; T is 9 `statements` - 11, the length of a program of conditional assignments. */
export interface CodeExecutionOptions extends TaskOptions {
  /** Statements of a program, the last a print; 100 by default. */
  statements?: number;
  /** Different variables, 3 by default as in one of the published sets; at most 5, as in the other. */
  variables?: number;
  /**
   * Whether an assignment inside a conditional gives a variable that has a value another one; false by default, as in the
   * published program, which ignores it there in silence.
   */
  conditionalReassignment?: boolean;
}

const OPTIONS: OptionNames<CodeExecutionOptions> = {
  ...TASK_OPTIONS,
  statements: true,
  variables: true,
  conditionalReassignment: 'flag',
};

const TOKENS = [...'0123456789', 'x', 'y', 'z', 'a', 'b', '=', ';', '++', '--', 'print', 'if', '<', '>', ':', '.'];
const ID = Object.fromEntries(TOKENS.map((token, id) => [token, id]));
const FIRST_VARIABLE = ID.x;
const PADDING = ID['.'];

const [LEAST, MOST] = [-8, 16];

/** What a value becomes; a step that would leave the bounds is turned round. */
export function stepped(value: number, up: boolean): number {
  return (up ? value < MOST : value <= LEAST) ? value + 1 : value - 1;
}

/** Labels: this, then the values from LEAST to MOST. */
const SILENT = 0;
const PRINTED = 1;

/** A program while it is drawn and run. */
class Program {
  readonly ids: number[] = [];
  readonly labels: number[] = [];
  private readonly values = new Map<number, number>();
  /** In the order of their first assignments, in which they are drawn. */
  private readonly assigned: number[] = [];

  constructor(
    private readonly random: HostRandom,
    private readonly variables: number,
    private readonly reassigns: boolean,
  ) {}

  /** An assignment; inside a conditional it may have no effect. */
  assign(runs: boolean, conditional: boolean): void {
    const variable = this.random.below(this.variables);
    const value = this.random.below(10);
    const known = this.values.has(variable);
    if (runs && !(conditional && known && !this.reassigns)) {
      if (!known) this.assigned.push(variable);
      this.values.set(variable, value);
    }
    this.write(FIRST_VARIABLE + variable, ID['='], value, ID[';']);
  }

  private step(runs: boolean): void {
    const [variable, value] = this.known();
    const next = stepped(value, this.random.below(2) === 0);
    if (runs) this.values.set(variable, next);
    this.write(FIRST_VARIABLE + variable, ID[next > value ? '++' : '--'], ID[';']);
  }

  print(runs: boolean): void {
    const [variable, value] = this.known();
    this.write(ID.print, FIRST_VARIABLE + variable, ID[';']);
    if (runs) this.labels[this.labels.length - 1] = PRINTED + value - LEAST;
  }

  private conditional(): void {
    const less = this.random.below(2) === 0;
    const [variable, value] = this.known();
    const limit = this.random.below(10);
    this.write(ID.if, FIRST_VARIABLE + variable, ID[less ? '<' : '>'], limit, ID[':']);
    this.plain(this.random.below(3), less ? value < limit : value > limit, true);
  }

  /** A statement of any kind. */
  statement(): void {
    const kind = this.random.below(4);
    if (kind === 3) this.conditional();
    else this.plain(kind, true, false);
  }

  private plain(kind: number, runs: boolean, conditional: boolean): void {
    if (kind === 0) this.assign(runs, conditional);
    else if (kind === 1) this.step(runs);
    else this.print(runs);
  }

  /** A variable that has a value, and the value. */
  private known(): [number, number] {
    const variable = this.assigned[this.random.below(this.assigned.length)];
    return [variable, this.values.get(variable)!];
  }

  private write(...ids: number[]): void {
    this.ids.push(...ids);
    this.labels.push(...ids.map(() => SILENT));
  }
}

/**
 * Programs such as `x = 5 ; if x > 3 : x ++ ; print x ;` and padding. First comes an assignment, last a print; the others are
 * evenly assignments of 0 to 9, increments or decrements that stay within -8 and 16, prints, and conditionals over one of
 * these. Labels: 0 at every token but the semicolon of a print that is run, which has the value + 9; the groups are
 * 'silent' and 'printed'.
 *
 * Fan et al. 2020 as Irie, Schlag, Csordas, Schmidhuber, "Going beyond linear Transformers with recurrent fast weight
 * programmers" (NeurIPS 2021) have it.
 */
export function codeExecution(options: CodeExecutionOptions = {}): Dataset {
  const name = 'codeExecution';
  checkOptions(name, options, OPTIONS);
  const statements = checkInteger(name, 'statements', options.statements ?? 100, 2, 2 ** 20);
  const variables = checkInteger(name, 'variables', options.variables ?? 3, 1, 5);
  const reassigns = options.conditionalReassignment ?? false;

  return sequenceTask(
    {
      name,
      description: `code execution, ${statements} statements, ${variables} variables`,
      vocabSize: PRINTED + MOST - LEAST + 1,
      sequenceLength: 9 * (statements - 2) + 7,
      groups: ['silent', 'printed'],
      draw(random, { inputs, labels, groups }) {
        const program = new Program(random, variables, reassigns);
        program.assign(true, false);
        for (let i = 2; i < statements; i++) program.statement();
        program.print(true);
        inputs.fill(PADDING);
        inputs.set(program.ids);
        labels.set(program.labels);
        program.labels.forEach((label, t) => (groups[t] = Number(label !== SILENT)));
      },
      decode: (ids) => Array.from(ids, (id) => TOKENS[id] ?? '?').join(' '),
    },
    options,
  );
}
