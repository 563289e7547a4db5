// /v1/completions: text goes on.
import type { Engine } from '../engine/engine';
import type { FinishReason, GenerateJob, Prompt, TokenEvent, TokenInfo } from '../engine/protocol';
import { invalid, unsupported } from '../errors';
import { now, passingId } from '../ids';
import { engineOf, type Services } from '../services';
import type { Call } from './call';
import {
  constraintOf,
  jobOf,
  nothingYet,
  type Place,
  type Progress,
  refuseSeveral,
  streamError,
  tokensOf,
  usageOf,
} from './generate';
import { type CompletionBody, listOf } from './schemas';
import { DONE, eventStream, frame, merge } from './sse';

/** OpenAI's default for this endpoint. */
const USUAL_TOKENS = 16;

interface Logprobs {
  tokens: string[];
  token_logprobs: number[];
  top_logprobs: Record<string, number>[];
  text_offset: number[];
}

interface Choice {
  text: string;
  index: number;
  logprobs: Logprobs | null;
  finish_reason: FinishReason | null;
}

export async function completions(
  services: Services,
  call: Call,
  body: CompletionBody,
  place: Place = {},
): Promise<Response> {
  const engine = engineOf(services, body.model);
  call.model = engine.name;
  call.fields = { top_logprobs: 'logprobs' };
  const prompts = promptsOf(body, place);
  const { n = 1, best_of: best = n } = body;
  if (best !== n) throw unsupported('best_of', 'All texts are given: it must be n, or left out.');
  refuseSeveral(place, n * prompts.length);
  if (body.echo && body.logprobs !== undefined) {
    throw unsupported('echo', 'Probabilities of a prompt are not given: leave out echo or logprobs.');
  }
  const job = {
    ...jobOf(services, body, { maxTokens: body.max_tokens, param: 'max_tokens', usual: USUAL_TOKENS }),
    stop: listOf(body.stop),
    samples: n,
    logprobs: body.logprobs !== undefined,
    constraint: constraintOf(body.response_format),
    resume: body.resume,
    ...place,
  };
  if (body.logprobs) job.drawing.topLogprobs = body.logprobs;
  call.note({ prompt: body.prompt });
  const jobs = prompts.map((prompt): GenerateJob => ({ ...job, prompt }));
  const answer = new Answer(engine, call, body, jobs);
  return body.stream ? answer.stream() : answer.whole();
}

function promptsOf({ prompt, resume }: CompletionBody, { from }: Place): Prompt[] {
  if (prompt === undefined || prompt === '') {
    // A conversation goes on from what it has read; what has no beginning begins as its tokenizer has it.
    if (from !== undefined || resume) return [{ kind: 'ids', ids: [] }];
    return [{ kind: 'text', text: '' }];
  }
  if (typeof prompt === 'string') return [{ kind: 'text', text: prompt }];
  if (prompt instanceof Int32Array) return [{ kind: 'ids', ids: prompt }];
  return prompt.map((each) => (typeof each === 'string' ? { kind: 'text', text: each } : { kind: 'ids', ids: each }));
}

class Answer {
  private readonly id = passingId('cmpl-');
  private readonly created = now();
  private readonly parts: Progress[];
  /** Whether a part of a stream was sent: what fails then is told in it. */
  private begun = false;
  /** Characters of each text so far. */
  private readonly lengths = new Map<number, number>();

  constructor(
    private readonly engine: Engine,
    private readonly call: Call,
    private readonly body: CompletionBody,
    private readonly jobs: readonly GenerateJob[],
  ) {
    this.parts = jobs.map(nothingYet);
  }

  async whole(): Promise<Response> {
    const { n = 1, logprobs } = this.body;
    const choices = Array.from({ length: n * this.jobs.length }, (_, index): Choice => ({
      text: this.echoed(index),
      index,
      logprobs: logprobs === undefined ? null : noLogprobs(),
      finish_reason: null,
    }));
    for await (const pieces of this.pieces()) {
      for (const { index, text, logprobs: more, finish_reason: reason } of pieces) {
        const choice = choices[index];
        choice.text += text;
        if (more) append(choice.logprobs!, more);
        choice.finish_reason = reason ?? choice.finish_reason;
      }
    }
    // A prompt that is only read has ended as well.
    for (const choice of choices) choice.finish_reason ??= 'length';
    this.call.note({ choices: choices.map(({ text }) => text) });
    return Response.json({ ...this.head(), choices, usage: usageOf(this.parts) });
  }

  stream(): Promise<Response> {
    return eventStream(this.frames(), {
      closed: () => this.call.end(200),
      cancelled: () => this.call.gone(),
    });
  }

  private async *frames(): AsyncGenerator<string> {
    const { stream_options: options } = this.body;
    const usage = options?.include_usage ? { usage: null } : {};
    const texts: Record<number, string> = {};
    try {
      for await (const pieces of this.pieces()) {
        for (const { index, text } of pieces) texts[index] = (texts[index] ?? '') + text;
        this.begun = true;
        yield pieces
          .map((piece) => {
            const echoed = this.lengths.has(piece.index) ? '' : this.echoed(piece.index);
            this.lengths.set(piece.index, 0);
            return frame({ ...this.head(), choices: [{ ...piece, text: echoed + piece.text }], ...usage });
          })
          .join('');
      }
      const unwritten = this.unwritten();
      if (unwritten.length > 0) {
        this.begun = true;
        yield unwritten.map((piece) => frame({ ...this.head(), choices: [piece], ...usage })).join('');
      }
      if (options?.include_usage) yield frame({ ...this.head(), choices: [], usage: usageOf(this.parts) });
      this.call.note({ choices: Object.values(texts) });
      yield DONE;
    } catch (error) {
      if (!this.begun) throw error;
      const told = streamError(error, this.call);
      this.call.end(told.status, told);
      yield frame(told.body);
    }
  }

  /** Those of which nothing was to be written: their prompts were read. */
  private unwritten(): Choice[] {
    const { n = 1 } = this.body;
    const indices = Array.from({ length: n * this.jobs.length }, (_, index) => index);
    return indices
      .filter((index) => !this.lengths.has(index))
      .map((index) => ({ text: this.echoed(index), index, logprobs: null, finish_reason: 'length' }));
  }

  private async *pieces(): AsyncGenerator<Choice[]> {
    const { engine, call, jobs, parts } = this;
    const { n = 1 } = this.body;
    const sources = jobs.map(async function* (job, i): AsyncGenerator<Choice[]> {
      const offsets: number[] = [];
      for await (const tokens of tokensOf(engine, call, job, parts[i])) {
        yield tokens.map((token) => {
          const offset = offsets[token.sample] ?? 0;
          offsets[token.sample] = offset + token.text.length;
          return choiceOf(token, i * n + token.sample, offset);
        });
      }
    });
    yield* merge(sources, call.places(sources.length));
  }

  private echoed(index: number): string {
    const { echo, n = 1 } = this.body;
    if (!echo) return '';
    const prompt = this.jobs[Math.floor(index / n)].prompt;
    if (prompt.kind !== 'text') throw invalid('echo', 'Only prompts of text can be echoed.');
    return prompt.text;
  }

  private head(): { id: string; object: 'text_completion'; created: number; model: string } {
    return { id: this.id, object: 'text_completion', created: this.created, model: this.body.model };
  }
}

const noLogprobs = (): Logprobs => ({ tokens: [], token_logprobs: [], top_logprobs: [], text_offset: [] });

function append(all: Logprobs, more: Logprobs): void {
  all.tokens.push(...more.tokens);
  all.token_logprobs.push(...more.token_logprobs);
  all.top_logprobs.push(...more.top_logprobs);
  all.text_offset.push(...more.text_offset);
}

/** Of several tokens with one text the most probable. */
function byText(top: readonly TokenInfo[]): Record<string, number> {
  const found: Record<string, number> = Object.create(null) as Record<string, number>;
  for (const { token, logprob } of top) found[token] = Math.max(found[token] ?? -Infinity, logprob);
  return found;
}

function choiceOf(token: TokenEvent, index: number, offset: number): Choice {
  const { text, info, finish = null } = token;
  const logprobs = info && {
    tokens: [info.token],
    token_logprobs: [info.logprob],
    top_logprobs: [byText(info.top)],
    text_offset: [offset],
  };
  return { text, index, logprobs: logprobs ?? null, finish_reason: finish };
}
