// What is asked of the model: schemas whose texts all end, since its weights are random.
import { z } from 'zod';

export const recolour = z.object({ colour: z.enum(['red', 'green', 'blue']) });
export const light = z.object({ on: z.boolean(), colour: z.enum(['red', 'green', 'blue']) });
