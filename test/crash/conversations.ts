// Conversations that go on through crashes: what was broken off is asked again, of any server, and what a server has acknowledged
// must be there.
import { setTimeout as sleep } from 'node:timers/promises';

/** Conversations at a time, and turns of each. */
export const [CONVERSATIONS, TURNS] = [6, 10];

/** Milliseconds in which a server must answer again. */
const PATIENCE = 60_000;

/** What a conversation came to. */
export interface Course {
  /** Of each turn; null where a server has kept it and was killed before it could say so. */
  texts: (string | null)[];
  /** Tokens behind each turn. */
  lengths: number[];
  /** When each turn was acknowledged, or found to be kept. */
  times: number[];
  /** Requests that were broken off. */
  broken: number;
}

/** Where a conversation asks; `tries` counts the failures of a request. */
export type Place = (conversation: number, tries: number) => string;

/**
 * All of them at once, with the same seeds every time; `expected` is how long each is where nothing is killed, `told` is called
 * with every turn.
 */
export function converseAll(place: Place, expected?: readonly Course[], told?: () => void): Promise<Course[]> {
  const all = Array.from({ length: CONVERSATIONS }, (_, i) =>
    converse((tries) => place(i, tries), i, expected?.[i].lengths ?? null, told),
  );
  return Promise.all(all);
}

function turnOf(conversation: number, turn: number): object {
  const number = 10 * conversation + turn;
  const words = { prompt: ` turn ${turn} of ${conversation}`, max_tokens: 40 + 13 * (number % 5) };
  return { model: 'small', ...words, seed: number, temperature: 1, ignore_eos: true, stream: turn % 2 === 1 };
}

async function converse(
  place: (tries: number) => string,
  i: number,
  expected: number[] | null,
  told?: () => void,
): Promise<Course> {
  const course: Course = { texts: [], lengths: [], times: [], broken: 0 };
  const deadline = { at: performance.now() + PATIENCE };
  const begun = await again(deadline, course, place, (url) =>
    ask(`${url}/v1/sessions`, { model: 'small', prompt: `Conversation ${i}` }),
  );
  const id = String(begun.id);
  let length = Number(begun.length);
  for (let turn = 0; turn < TURNS; turn++) {
    deadline.at = performance.now() + PATIENCE;
    let asked = 0;
    const text = await again(deadline, course, place, async (url) => {
      if (asked++ > 0) {
        const there = Number((await ask(`${url}/v1/sessions/${id}`)).length);
        if (there === expected?.[turn]) return null;
        // Neither as before the turn nor as after it.
        if (there !== length) throw new Lost(`conversation ${i} has ${there} tokens in turn ${turn}, not ${length}`);
      }
      return answer(`${url}/v1/sessions/${id}/completions`, turnOf(i, turn));
    });
    length = expected?.[turn] ?? Number((await ask(`${place(0)}/v1/sessions/${id}`)).length);
    course.texts.push(text);
    course.lengths.push(length);
    course.times.push(performance.now());
    told?.();
  }
  return course;
}

/** What was acknowledged and is not there. */
export class Lost extends Error {}

/** Tries until it succeeds, at one server after the other. */
async function again<T>(
  deadline: { at: number },
  course: Course,
  place: (tries: number) => string,
  work: (url: string) => Promise<T>,
): Promise<T> {
  for (let tries = 0; ; tries++) {
    try {
      return await work(place(tries));
    } catch (error) {
      if (error instanceof Lost || performance.now() > deadline.at) throw error;
      if (tries === 0) course.broken++;
      await sleep(20);
    }
  }
}

async function send(url: string, body?: object): Promise<Response> {
  const init = body && {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  };
  const response = await fetch(url, { ...init, signal: AbortSignal.timeout(PATIENCE) });
  if (response.ok) return response;
  const told = `${url}: ${response.status} ${await response.text()}`;
  throw response.status === 404 ? new Lost(told) : new Error(told);
}

async function ask(url: string, body?: object): Promise<Record<string, unknown>> {
  return (await (await send(url, body)).json()) as Record<string, unknown>;
}

interface Choices {
  choices: { text: string }[];
}

/** The text of an answer that is acknowledged: all of a body, or a stream with its end. */
async function answer(url: string, body: object): Promise<string> {
  const response = await send(url, body);
  const whole = await response.text();
  if (!response.headers.get('content-type')!.startsWith('text/event-stream')) {
    return (JSON.parse(whole) as Choices).choices[0].text;
  }
  const events = whole.trimEnd().split('\n\n');
  if (events.pop() !== 'data: [DONE]') throw new Error(`the stream broke off: ${whole.slice(-200)}`);
  return events.map((event) => (JSON.parse(event.slice('data: '.length)) as Choices).choices[0]?.text ?? '').join('');
}
