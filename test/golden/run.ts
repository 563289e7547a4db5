// Runs every vector in and below a folder and says which are not within their tolerance.
import { runProgram } from './drive';

void runProgram('run', 'every vector (*.safetensors) in and below FOLDER, and the whole models there', () => true);
