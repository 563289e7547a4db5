// What it costs that a text must be JSON of a schema.
import { ServerProcess } from '../../test/support/serverProcess';
import { type Effort, type Figure, figure, type ServeCase } from './figure';
import { deltanetFolder } from './folder';
import { ENDLESS, idle, watch } from './streams';

/** A list longer than any window. */
const schema = { type: 'array', items: { type: 'integer' }, minItems: 2000 };
const CONSTRAINED = { response_format: { type: 'json_schema', json_schema: { name: 'list', schema } } };

async function measure({ rounds, seconds }: Effort): Promise<Figure[]> {
  const model = await deltanetFolder('26M');
  const server = await ServerProcess.start(model.folder, ['--max-tokens', String(ENDLESS)]);
  const rates = new Map<string, number[]>();
  const take = async (name: string, streams: number, options: object): Promise<void> => {
    await idle(server);
    const { tokensPerSecond } = await watch(server, streams, seconds, options);
    rates.set(name, [...(rates.get(name) ?? []), tokensPerSecond]);
  };
  try {
    await watch(server, 8, seconds, CONSTRAINED);
    for (let round = 0; round < rounds; round++) {
      for (const streams of [1, 8]) {
        await take(`free/x${streams}`, streams, {});
        await take(`schema/x${streams}`, streams, CONSTRAINED);
      }
    }
  } finally {
    await server.stop();
    model.remove();
  }
  return [1, 8].flatMap((streams) => {
    const [free, constrained] = ['free', 'schema'].map((name) => rates.get(`${name}/x${streams}`)!);
    return [
      figure(`constrained/free/x${streams}`, 'tokens/s', free),
      figure(`constrained/schema/x${streams}`, 'tokens/s', constrained),
      figure(
        `constrained/time/x${streams}`,
        'x',
        free.map((rate, i) => rate / constrained[i]),
      ),
    ];
  });
}

export const constrainedCases: ServeCase[] = [
  { name: 'constrained', what: 'streams that must be JSON of a schema beside free ones, 26M', run: measure },
];
