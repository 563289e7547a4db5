// Waiting for the device's queue, so that the clock stops when the work is done.
import { fw, getBackend, type Device } from '../library';
import { isCard } from '../problem';

/**
 * A function that is done when everything queued so far has run. On the CPU it returns then: reading a single number
 * takes about a microsecond. A card is awaited.
 */
export function finishQueue(device: Device): () => void | Promise<void> {
  if (isCard(device)) return () => getBackend(device).synchronize();
  const marker = fw.zeros([1], { device });
  return () => void marker.dataSync();
}
