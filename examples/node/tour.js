// A tour of Turnkeep from Node:
//
//     npm ci
//     node tour.js 127.0.0.1:50051 my-session
import grpc from '@grpc/grpc-js';

import { errorInfo } from './error_info.js';
import { Turnkeep } from './turnkeep.js';

const [address = '127.0.0.1:50051', session_id = 'node-tour'] = process.argv.slice(2);
const turnkeep = new Turnkeep(address);

// ctrl-C cancels the call under way; the server stops the model and keeps what was said.
const interrupted = new AbortController();
process.once('SIGINT', () => interrupted.abort());
const { signal } = interrupted;

try {
  const cleared = await turnkeep.clearSession({ session_id }, { signal });
  console.log(`ClearSession: ${cleared.cleared_messages} messages forgotten`);

  const answer = await turnkeep.chat({ session_id, text: 'Привет! Меня зовут Виктор 👋' }, { signal });
  console.log(`Chat: ${answer.message.text}`);

  process.stdout.write('StreamChat: ');
  for await (const event of turnkeep.stream({ session_id, text: '你还记得我叫什么吗?' }, { signal })) {
    if (event.delta) process.stdout.write(event.delta.text);
    if (event.completed) {
      const { sequence, usage } = event.completed;
      console.log(`\n  turn ${sequence} is stored, ${usage.total_tokens} tokens`);
    }
  }

  await showAnError();
  await hangUp();

  // Waits, as Chat would, until the turn that was just cancelled has ended.
  const added = await turnkeep.addMessages(
    {
      session_id,
      messages: [
        { role: 'ROLE_USER', text: 'كم الساعة الآن؟' },
        { role: 'ROLE_ASSISTANT', text: 'الثالثة ظهراً 🕒' },
      ],
    },
    { signal },
  );
  console.log(`AddMessages: ${added.messages.length} messages are turn ${added.sequence}`);

  console.log('ListMessages:');
  const pages = { session_id, page_size: 3, include_unfinished: true };
  for await (const each of turnkeep.messages(pages, { signal })) {
    console.log(`  ${each.sequence} ${each.status} ${each.role} ${each.text}`);
  }
} catch (error) {
  console.error(`error: ${error.message}`, errorInfo(error) ?? '');
  process.exitCode = 1;
} finally {
  turnkeep.close();
}

async function showAnError() {
  try {
    await turnkeep.chat({ session_id, text: 'Привет', prompt: 'no-such-prompt' }, { signal });
  } catch (error) {
    const info = errorInfo(error);
    if (!info) throw error;
    console.log(`Error: ${grpc.status[error.code]}: ${info.reason} from ${info.domain}`);
  }
}

// Cancels a turn after its third piece of text, as ctrl-C would.
async function hangUp() {
  const enough = new AbortController();
  const text = 'Расскажи длинную историю 🐘';
  let pieces = 0;
  process.stdout.write('Cancel: ');
  try {
    const either = AbortSignal.any([signal, enough.signal]);
    for await (const event of turnkeep.stream({ session_id, text }, { signal: either })) {
      if (!event.delta) continue;
      process.stdout.write(event.delta.text);
      if (++pieces === 3) enough.abort();
    }
  } catch (error) {
    if (error.code !== grpc.status.CANCELLED || signal.aborted) throw error;
  }
  console.log();
}
