// Adapters of the small model.
import * as fw from '../../lib';

/** Writes an adapter that changes what the model says. */
export async function writeAdapter(model: string, dir: string, seed: number): Promise<void> {
  const trained = await fw.AutoModelForCausalLM.fromPretrained(model, { device: 'js' });
  fw.nn.addLora(trained, { rank: 2, alpha: 4, targets: ['q_proj', 'o_proj', 'down_proj'] });
  fw.withSeed(seed, () =>
    fw.noGrad(() => {
      for (const [name, t] of trained.namedParameters()) if (name.includes('lora_')) fw.nn.init.normal_(t, 0, 0.3);
    }),
  );
  await fw.nn.saveLora(trained, dir);
  trained.dispose();
}
