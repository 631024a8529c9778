// Publish one command:  node publish.js MEMBER enroll|earn|spend|exit [POINTS] [COMMAND_ID]
//
// Needs amqplib (npm ci). The broker is LOYALTY_AMQP_URL, or else that of a running `loyalty dev`.
// Prints the command's id; exit code 0 once the broker has it. Ask `loyalty receipt MEMBER COMMAND_ID` what became of
// it. Whenever this fails, call it again with the same id: the command changes the balance once.
const { randomUUID } = require('node:crypto')
const { readFileSync } = require('node:fs')
const amqp = require('amqplib')

function partition(member) { // CRC-32 as in zlib; from Node 22.2 on, zlib.crc32 does it
  let crc = ~0
  for (const byte of Buffer.from(member)) {
    crc ^= byte
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0)
  }
  return String((~crc >>> 0) % 16).padStart(2, '0')
}
for (const { member_id, routing_key } of require('../../docs/partition-vectors.json'))
  if (partition(member_id) !== routing_key) throw new Error(`the partition of ${member_id} is ${routing_key}`)

function fail(why) { console.error(why); process.exit(1) }
async function main(member_id, type, ...more) {
  if (!type) fail('usage: node publish.js MEMBER enroll|earn|spend|exit [POINTS] [COMMAND_ID]')
  const command = { v: 1, member_id, type, occurred_at: new Date().toISOString() }
  if (type === 'earn' || type === 'spend') command.points = Number(more.shift())
  const message_id = command.command_id = more.shift() ?? randomUUID()
  console.log(message_id)
  // A blocked broker, or one without a majority of its nodes, answers nothing at all.
  setTimeout(() => fail('not confirmed in 30 seconds: repeat it under the same id'), 30_000).unref()
  const url = process.env.LOYALTY_AMQP_URL ?? JSON.parse(readFileSync('.loyalty/dev.json')).amqp_url
  const connection = await amqp.connect(url)
  const channel = await connection.createConfirmChannel()
  channel.on('return', () => fail('no queue takes it: has `loyalty topology` been run?')) // comes before the confirm
  const properties = { persistent: true, contentType: 'application/json', type: 'loyalty.command.v1',
    messageId: message_id, appId: 'examples/node', mandatory: true }
  channel.publish('loyalty.commands', partition(member_id), Buffer.from(JSON.stringify(command)), properties)
  await channel.waitForConfirms().catch(() => fail('the queue is full: repeat it later under the same id'))
  await connection.close()
}
main(...process.argv.slice(2)).catch((error) => fail(error.message))
