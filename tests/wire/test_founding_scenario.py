async def test_x(client, thread, gates, http, sync_client):
    gates.hold(thread, "A.n2")
    run = await client.runs.create(thread, "steps", input={"tag": "A"})
    await gates.started(thread, "A.n2")
    gates.let(thread, "A.n2")
    print(await client.runs.join(thread, run["run_id"]))
    r = await client.runs.wait(thread, "agent", input={"messages": [{"role": "user", "content": "what's the weather in sf?"}]})
    print(r)
    assert 0
