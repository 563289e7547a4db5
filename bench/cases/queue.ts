// Waiting for the device's queue, so that the clock stops when the work is done.
import { fw, type Device } from '../library';

/** A function that returns when everything queued so far has run; reading a single number takes about a microsecond. */
export function finishQueue(device: Device): () => void {
  const marker = fw.zeros([1], { device });
  return () => void marker.dataSync();
}
