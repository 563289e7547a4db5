// Runs every whole model in and below a folder, and nothing else there.
import { runProgram } from './drive';

void runProgram(
  'models',
  'every whole model (a folder with expected.safetensors) in and below FOLDER',
  ({ whole }) => whole,
);
