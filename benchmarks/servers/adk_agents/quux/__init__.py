"""The agent that `adk api_server` serves in the benchmarks."""

from benchmarks.servers.adk_agents.quux import agent as agent
