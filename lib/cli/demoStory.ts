// One sequence told step by step: a key is written, written again, and asked for; what the memories hold and answer.
import { type RecurrentModel, Session } from '../inference';
import {
  type AnswerCell,
  type AnswerTable,
  heat,
  type HeatmapGrid,
  type Matrix,
  type ReportSample,
  table,
} from '../viz';
import { type Batch, type Dataset, IGNORED } from '../data';
import { fittingTitles } from './demoBars';
import { memoriesOf } from './fastWeights';
import { columnsOf, showsColours, wrapText } from './terminal';

export interface Contestant {
  title: string;
  model: RecurrentModel;
}

interface Answer {
  token: string;
  probability: number;
}

/** A key of the sequence around a write: its value before and after it, if it has one, and the model's answers. */
interface Held {
  key: string;
  value: { before?: string; after: string };
  answers: { before: Answer[]; after: Answer[] };
}

/** What one model held and answered. */
interface Account {
  title: string;
  /** The first head's matrix half way to the write, before it and after it. */
  early: Matrix;
  before: Matrix;
  after: Matrix;
  /** Every key that has a value after the write. */
  held: Held[];
  /** For every key asked at the end of the sequence. */
  final: { key: string; expected: string; replaced: boolean; answer: string }[];
}

export interface Story {
  sequence: string;
  key: string;
  oldValue: string;
  newValue: string;
  accounts: Account[];
}

/** A write that gives a key a new value. */
interface Replacement {
  /** Of the key in the sequence. */
  at: number;
  key: number;
  oldValue: number;
  newValue: number;
}

const SEPARATOR = 0;
const SHOWN = 2;
/** Less would be shown as 0 %. */
const LEAST_SHOWN = 0.005;
/** Sequences among which one is looked for that shows the difference. */
const TRIED = 64;

/** The last one of a sequence; the memory is fullest there. */
function lastReplacement(ids: Int32Array): Replacement {
  const seen = new Map<number, number>();
  let found = { at: 0, key: ids[0], oldValue: ids[1], newValue: ids[1] };
  for (let t = 0; ids[t] !== SEPARATOR; t += 2) {
    const [key, newValue] = ids.subarray(t, t + 2);
    const oldValue = seen.get(key);
    if (oldValue !== undefined) found = { at: t, key, oldValue, newValue };
    seen.set(key, newValue);
  }
  return found;
}

/** The keys written before `end`, in order, with their last values. */
function valuesBefore(ids: Int32Array, end: number): Map<number, number> {
  const values = new Map<number, number>();
  for (let t = 0; t < end; t += 2) values.set(ids[t], ids[t + 1]);
  return values;
}

/** Asks a session for a key, as the end of a sequence does, and leaves it as it was. */
async function ask(session: Session, key: number): Promise<ArrayLike<number>> {
  using branch = session.fork();
  using logits = branch.feed([SEPARATOR, key]);
  return logits.data();
}

/** The first sequence whose last replacement only the first contestant remembers; else the first of all. */
async function tellingBatch(contestants: readonly Contestant[], data: Dataset): Promise<Batch> {
  const batches = data.evaluation(1)[Symbol.iterator]();
  const first = batches.next().value as Batch;
  let batch: Batch | undefined = first;
  for (let i = 0; i < TRIED && batch; i++, batch = batches.next().value as Batch | undefined) {
    const { at, key, newValue } = lastReplacement(batch.inputs);
    const right: boolean[] = [];
    for (const { model } of contestants) {
      using session = new Session(model);
      session.feed(batch.inputs.subarray(0, at + 2)).dispose();
      right.push(largest(await ask(session, key)) === newValue);
    }
    if (right.every((found, i) => found === (i === 0))) return batch;
  }
  return first;
}

export async function tellStory(contestants: readonly Contestant[], data: Dataset): Promise<Story> {
  const { inputs, labels, groups } = await tellingBatch(contestants, data);
  const name = (id: number): string => data.decode([id]);
  const { at, key, oldValue, newValue } = lastReplacement(inputs);
  const end = inputs.indexOf(SEPARATOR);
  const [before, after] = [valuesBefore(inputs, at), valuesBefore(inputs, at + 2)];
  const accounts: Account[] = [];
  for (const { title, model } of contestants) {
    using session = new Session(model);
    const answers = async (): Promise<Answer[][]> => {
      const found: Answer[][] = [];
      for (const asked of after.keys()) found.push(best(await ask(session, asked), name));
      return found;
    };
    const read = async (from: number, to: number): Promise<Matrix> => {
      if (to > from) session.feed(inputs.subarray(from, to)).dispose();
      return (await memoriesOf(session))[0];
    };
    const half = 2 * Math.floor(at / 4);
    const matrices = { early: await read(0, half), before: await read(half, at) };
    const answersBefore = await answers();
    const matrixAfter = await read(at, at + 2);
    const answersAfter = await answers();
    const held = [...after].map(([asked, value], i) => ({
      key: name(asked),
      value: { before: before.has(asked) ? name(before.get(asked)!) : undefined, after: name(value) },
      answers: { before: answersBefore[i], after: answersAfter[i] },
    }));
    session.feed(inputs.subarray(at + 2, end + 1)).dispose();
    const final: Account['final'] = [];
    for (let t = end + 1; t < inputs.length; t++) {
      using logits = session.feed([inputs[t]]);
      const [{ token }] = best(await logits.data(), name);
      if (labels[t] === IGNORED) continue;
      final.push({ key: name(inputs[t]), expected: name(labels[t]), replaced: groups?.[t] === 1, answer: token });
    }
    accounts.push({ title, ...matrices, after: matrixAfter, held, final });
  }
  const sequence = data.decode(inputs.subarray(0, end));
  return { sequence, key: name(key), oldValue: name(oldValue), newValue: name(newValue), accounts };
}

function largest(logits: ArrayLike<number>): number {
  return Array.from(logits).reduce((top, x, id) => (x > logits[top] ? id : top), 0);
}

/** The most probable tokens. */
function best(logits: ArrayLike<number>, name: (id: number) => string): Answer[] {
  const top = Math.max(...Array.from(logits));
  const weights = Array.from(logits, (x) => Math.exp(x - top));
  const total = weights.reduce((a, b) => a + b);
  const order = weights.map((_, id) => id).sort((a, b) => weights[b] - weights[a] || a - b);
  const shares = order.slice(0, SHOWN).map((id) => ({ token: name(id), probability: weights[id] / total }));
  return shares.filter(({ probability }, i) => i === 0 || probability >= LEAST_SHOWN);
}

function answerText(answers: readonly Answer[]): string {
  return answers.map(({ token, probability }) => `${token} ${Math.round(100 * probability)} %`).join(', ');
}

/** The story for a terminal, with the matrices in colour where there is any. */
export function storyText(story: Story, stream: NodeJS.WriteStream): string {
  const { key, oldValue, newValue, accounts } = story;
  const columns = columnsOf(stream);
  const titles = fittingTitles(
    accounts.map(({ title }) => title),
    columns,
  );
  const answersOf = (shown: number): string =>
    table(
      ['', 'before', 'after', ''],
      accounts.map(({ held }, i) => {
        const { answers } = held.find((one) => one.key === key)!;
        const verdict = answers.after[0].token === newValue ? 'right' : 'wrong';
        return [
          titles[i],
          answerText(answers.before.slice(0, shown)),
          answerText(answers.after.slice(0, shown)),
          verdict,
        ];
      }),
    );
  const whole = answersOf(SHOWN);
  const lines = [
    wrapText(`A sequence they never trained on: ${story.sequence}`, columns),
    wrapText(`${key} was ${oldValue}, then it is written again as ${newValue}. Asked for ${key}:`, columns),
    '',
    whole.split('\n').every((line) => line.length <= columns) ? whole : answersOf(1),
    '',
  ];
  if (showsColours(stream)) lines.push(...accounts.flatMap((account) => pictures(account, columns)));
  return lines.join('\n');
}

/** Before, after, and what the write changed, next to each other; at least two of them, pooled where they must be. */
function pictures({ title, before, after }: Account, columns: number): string[] {
  const limit = Math.max(1e-6, ...Array.from(after.data, Math.abs));
  const room = (count: number): number => Math.floor((columns - 3 * (count - 1)) / count);
  const shown = (
    [
      ['before', before],
      ['after', after],
      ['difference', difference(after, before)],
    ] as const
  ).slice(0, room(3) >= before.columns ? 3 : 2);
  const width = Math.max(1, Math.min(before.columns, room(shown.length)));
  const drawn = shown.map(([, m]) => heat(m, { width, limit }).split('\n'));
  const body = drawn[0].map((_, i) => drawn.map((picture) => picture[i]).join('   '));
  const pooled = Math.ceil(before.columns / Math.ceil(before.columns / width));
  const heads = shown.map(([label]) => label.padEnd(pooled)).join('   ');
  return [`fast weights, ${title}`.slice(0, columns), heads.trimEnd(), ...body, ''];
}

/** What goes into the report of one contestant: its matrix along the sequence, and its answers. */
export function storyReport(
  story: Story,
  index: number,
): { fastWeights: HeatmapGrid; answers: AnswerTable; samples: ReportSample[] } {
  const { key, oldValue, newValue } = story;
  const { early, before, after, final, held } = story.accounts[index];
  const lines = final.map(({ key: asked, expected, replaced, answer }) => {
    const verdict = answer === expected ? 'right' : `wrong, it is ${expected}`;
    return `${asked} -> ${answer}  ${verdict}${replaced ? '  (replaced)' : ''}`;
  });
  const cell = (answers: readonly Answer[], value: string | undefined): AnswerCell =>
    value === undefined ? { text: '–' } : { text: answerText(answers), right: answers[0].token === value };
  return {
    fastWeights: {
      title: `${key} was ${oldValue} and becomes ${newValue}`,
      columnLabels: ['early', `before ${key} ${newValue}`, `after ${key} ${newValue}`, 'difference'],
      rows: [{ label: 'head 1', cells: [early, before, after, difference(after, before)] }],
    },
    answers: {
      title: `Every key, asked before and after ${key} is written again as ${newValue}`,
      columnLabels: ['its value', 'before', 'after'],
      rows: held.map(({ key: asked, value, answers }) => ({
        label: asked,
        cells: [
          { text: value.before === value.after ? value.after : `${value.before ?? 'none'}, then ${value.after}` },
          cell(answers.before, value.before),
          cell(answers.after, value.after),
        ],
      })),
    },
    samples: [{ title: 'Asked at the end', prompt: `${story.sequence} |\n`, text: lines.join('\n') }],
  };
}

function difference(a: Matrix, b: Matrix): Matrix {
  return { ...a, data: Array.from(a.data, (x, i) => x - b.data[i]) };
}
