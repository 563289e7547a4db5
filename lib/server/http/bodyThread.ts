// The thread that reads long bodies, beside the one of HTTP.
import { giveWay, thisThread } from '../../platform';
import { toWire, type WireError } from '../errors';
import { type Form, readForm } from './forms';

export interface BodyRequest {
  id: number;
  form: Form;
  bytes: Uint8Array;
}
export type BodyAnswer = { id: number; body: unknown } | { id: number; error: WireError };

const { post, listen } = thisThread();

function answer({ id, form, bytes }: BodyRequest): BodyAnswer {
  try {
    return { id, body: readForm(form, bytes) };
  } catch (error) {
    return { id, error: toWire(error) };
  }
}

giveWay();
listen((message) => post(answer(message as BodyRequest)));
