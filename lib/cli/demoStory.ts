// One sequence told step by step: a key is written, written again, and asked for; what the memories hold and answer.
import { type RecurrentModel, Session } from '../inference';
import { type HeatmapGrid, heat, type Matrix, type ReportSample, table } from '../viz';
import { type Dataset, IGNORED } from '../data';
import { memoriesOf } from './fastWeights';

export interface Contestant {
  title: string;
  model: RecurrentModel;
}

interface Answer {
  token: string;
  probability: number;
}

/** What one model held and answered. */
interface Account {
  title: string;
  /** The first head's matrix half way to the write, before itand after it. */
  early: Matrix;
  before: Matrix;
  after: Matrix;
  /** Asked before the write, and after it. */
  answers: { before: Answer[]; after: Answer[] };
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

const SEPARATOR = 0;
const SHOWN = 2;

/** The last write of a sequence that gives a key a new value, and the value it had; the memory is fullest there. */
function lastReplacement(ids: Int32Array): { at: number; key: number; oldValue: number; newValue: number } {
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

export async function tellStory(contestants: readonly Contestant[], data: Dataset): Promise<Story> {
  const [{ inputs, labels, groups }] = data.evaluation(1);
  const name = (id: number): string => data.decode([id]);
  const { at, key, oldValue, newValue } = lastReplacement(inputs);
  const end = inputs.indexOf(SEPARATOR);
  const accounts: Account[] = [];
  for (const { title, model } of contestants) {
    using session = new Session(model);
    const ask = async (): Promise<Answer[]> => {
      using branch = session.fork();
      using logits = branch.feed([SEPARATOR, key]);
      return best(await logits.data(), name);
    };
    const read = async (from: number, to: number): Promise<Matrix> => {
      if (to > from) session.feed(inputs.subarray(from, to)).dispose();
      return (await memoriesOf(session))[0];
    };
    const half = 2 * Math.floor(at / 4);
    const early = await read(0, half);
    const before = await read(half, at);
    const answersBefore = await ask();
    const after = await read(at, at + 2);
    const answersAfter = await ask();
    session.feed(inputs.subarray(at + 2, end + 1)).dispose();
    const final: Account['final'] = [];
    for (let t = end + 1; t < inputs.length; t++) {
      using logits = session.feed([inputs[t]]);
      const [{ token }] = best(await logits.data(), name);
      if (labels[t] === IGNORED) continue;
      final.push({ key: name(inputs[t]), expected: name(labels[t]), replaced: groups?.[t] === 1, answer: token });
    }
    accounts.push({
      title,
      early,
      before,
      after,
      answers: { before: answersBefore, after: answersAfter },
      final,
    });
  }
  const sequence = data.decode(inputs.subarray(0, end));
  return { sequence, key: name(key), oldValue: name(oldValue), newValue: name(newValue), accounts };
}

/** The most probable tokens. */
function best(logits: ArrayLike<number>, name: (id: number) => string): Answer[] {
  const top = Math.max(...Array.from(logits));
  const weights = Array.from(logits, (x) => Math.exp(x - top));
  const total = weights.reduce((a, b) => a + b);
  const order = weights.map((_, id) => id).sort((a, b) => weights[b] - weights[a] || a - b);
  return order.slice(0, SHOWN).map((id) => ({ token: name(id), probability: weights[id] / total }));
}

function answerText(answers: readonly Answer[]): string {
  return answers.map(({ token, probability }) => `${token} ${Math.round(100 * probability)} %`).join(', ');
}

/** The story for a terminal, with the matrices in colour where there is any. */
export function storyText(story: Story): string {
  const { key, oldValue, newValue, accounts } = story;
  const rows = accounts.map(({ title, answers }) => [title, answerText(answers.before), answerText(answers.after)]);
  const lines = [
    `A sequence it never trained on: ${story.sequence}`,
    `${key} was ${oldValue}, then it is written again as ${newValue}. Asked for ${key}:`,
    '',
    table(['', `before ${key} ${newValue}`, `after ${key} ${newValue}`], rows),
    '',
  ];
  if (process.stdout.isTTY && !process.env.NO_COLOR) lines.push(...accounts.flatMap(pictures));
  return lines.join('\n');
}

/** Before, after, and what the write changed, next to each other. */
function pictures({ title, before, after }: Account): string[] {
  const limit = Math.max(1e-6, ...Array.from(after.data, Math.abs));
  const columns = [before, after, difference(after, before)].map((m) => heat(m, { width: 32, limit }).split('\n'));
  const body = columns[0].map((_, i) => columns.map((column) => column[i]).join('   '));
  const width = Math.min(32, before.columns);
  const heads = ['before', 'after', 'difference'].map((label) => label.padEnd(width)).join('   ');
  return [`fast weights, ${title}`, heads, ...body, ''];
}

/** What goes into the report of one contestant: its matrix along the sequence, and its answers. */
export function storyReport(story: Story, index: number): { fastWeights: HeatmapGrid; samples: ReportSample[] } {
  const { key, oldValue, newValue } = story;
  const { early, before, after, final, answers } = story.accounts[index];
  const lines = final.map(({ key: asked, expected, replaced, answer }) => {
    const verdict = answer === expected ? 'right' : `wrong, it is ${expected}`;
    return `${asked} -> ${answer}  ${verdict}${replaced ? '  (replaced)' : ''}`;
  });
  const asked = `Asked for ${key} before it is written again: ${answerText(answers.before)}; after it: ${answerText(answers.after)}.`;
  return {
    fastWeights: {
      title: `${key} was ${oldValue} and becomes ${newValue}`,
      columnLabels: ['early', `before ${key} ${newValue}`, `after ${key} ${newValue}`, 'difference'],
      rows: [{ label: 'head 1', cells: [early, before, after, difference(after, before)] }],
    },
    samples: [{ title: 'A worked example', prompt: `${story.sequence} |\n`, text: `${lines.join('\n')}\n\n${asked}` }],
  };
}

function difference(a: Matrix, b: Matrix): Matrix {
  return { ...a, data: Array.from(a.data, (x, i) => x - b.data[i]) };
}
