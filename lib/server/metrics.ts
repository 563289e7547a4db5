// What Prometheus reads.
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import { watchEventLoop } from '../platform';
import type { Engine } from './engine/engine';

const SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300];

/** All of a server's. */
export class Metrics {
  readonly registry = new Registry();
  readonly requests: Counter<'route' | 'status'>;
  readonly duration: Histogram<'route'>;
  readonly firstToken: Histogram<'model'>;
  readonly perToken: Histogram<'model'>;
  readonly tokens: Counter<'model' | 'kind'>;
  private readonly loop = watchEventLoop();

  constructor(engines: readonly Engine[]) {
    const registers = [this.registry];
    const prefix = 'fast_weights_';
    collectDefaultMetrics({ register: this.registry });
    this.requests = new Counter({
      name: `${prefix}requests_total`,
      help: 'Requests that have ended, by route and status.',
      labelNames: ['route', 'status'],
      registers,
    });
    this.duration = new Histogram({
      name: `${prefix}request_seconds`,
      help: 'From the head of a request to the last byte of its answer.',
      labelNames: ['route'],
      buckets: SECONDS,
      registers,
    });
    this.firstToken = new Histogram({
      name: `${prefix}first_token_seconds`,
      help: 'From the head of a request to its first token.',
      labelNames: ['model'],
      buckets: SECONDS,
      registers,
    });
    this.perToken = new Histogram({
      name: `${prefix}token_seconds`,
      help: 'Mean time between the tokens of a request.',
      labelNames: ['model'],
      buckets: [0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1],
      registers,
    });
    this.tokens = new Counter({
      name: `${prefix}tokens_total`,
      help: 'Tokens of prompts that were read, of states that were not read again, and of answers.',
      labelNames: ['model', 'kind'],
      registers,
    });
    const { loop } = this;
    new Gauge({
      name: `${prefix}event_loop_delay_p99_seconds`,
      help: 'How late timers of the thread of HTTP came, since the last reading of the page.',
      registers,
      collect() {
        this.set(loop.quantile(0.99) / 1000);
        loop.reset();
      },
    });
    const ofEngines: [string, string, (engine: Engine) => number][] = [
      ['ready', '1 where the model takes requests.', ({ status }) => Number(status === 'ready')],
      ['running_requests', 'Requests that the model is at work on.', ({ running }) => running],
      ['waiting_requests', 'Requests that wait for the model.', ({ queued }) => queued],
      ['engine_deaths', "How often the model's thread died.", ({ deaths }) => deaths],
      ['states', 'States of conversations in memory.', ({ stats }) => stats.states],
      ['state_bytes', 'What they take.', ({ stats }) => stats.stateBytes],
      ['prefix_states', 'States at which prompts begin that share their beginning.', ({ stats }) => stats.prefixStates],
      ['prefix_bytes', 'What they take.', ({ stats }) => stats.prefixBytes],
      ['batch', 'Conversations in the batch.', ({ stats }) => stats.active],
      ['tokens_per_tick', 'Tokens that one call of the model read lately.', ({ stats }) => stats.tokensPerTick],
      ['tensor_bytes', 'What all tensors of the process take.', ({ stats }) => stats.tensorBytes],
    ];
    for (const [name, help, read] of ofEngines) {
      new Gauge({
        name: `${prefix}${name}`,
        help,
        labelNames: ['model'],
        registers,
        collect() {
          for (const engine of engines) this.set({ model: engine.name }, read(engine));
        },
      });
    }
  }

  stop(): void {
    this.loop.stop();
    this.registry.clear();
  }
}
