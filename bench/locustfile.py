"""The users of `make bench` for Locust's browser page: python -m pip install locust pyjwt, then

    JWT_SECRET=... locust -f bench/locustfile.py --host http://localhost:8080

with the secret of the server. They list, create, update, delete and claim, and think 0.1 to 0.5 s in
between. What the limits refuse (429) is counted as a request of its own name, not as a failure.
Locust costs some hundred times the CPU that Millpond does: it shows behaviour, not capacity.
"""

import itertools
import os
import time

import jwt
from locust import FastHttpUser, between, task

NUMBERS = itertools.count()
SECRET = os.environ["JWT_SECRET"]


class Person(FastHttpUser):
    wait_time = between(0.1, 0.5)

    def on_start(self):
        claims = {"sub": f"locust-{os.getpid()}-{next(NUMBERS)}", "exp": int(time.time()) + 86_400}
        token = jwt.encode(claims, SECRET, algorithm="HS256")
        self.headers = {"Authorization": f"Bearer {token}"}
        self.todos = []

    def ask(self, method, path, name, **options):
        """The answer's JSON where it is good, else None."""
        with self.client.request(
            method, path, name=name, headers=self.headers, catch_response=True, **options
        ) as response:
            if response.status_code == 429:
                response.request_meta["name"] = f"{name} (429)"
                response.success()
                return None
            if not 200 <= response.status_code < 300:
                response.failure(f"{response.status_code}")
                return None
            return response.json() if response.content else {}

    @task(50)
    def list(self):
        self.ask("GET", "/todos?limit=100", "list")

    @task(25)
    def create(self):
        created = self.ask("POST", "/todos", "create", json={"title": "Water the garden"})
        if created:
            self.todos.append(created["id"])

    @task(15)
    def update(self):
        if not self.todos:
            return self.create()
        changed = {"title": "Water the garden", "completed": True}
        self.ask("PUT", f"/todos/{self.todos[-1]}", "update", json=changed)

    @task(5)
    def delete(self):
        if not self.todos:
            return self.create()
        if self.ask("DELETE", f"/todos/{self.todos[-1]}", "delete") is not None:
            self.todos.pop()

    @task(5)
    def claim(self):
        self.ask("POST", "/gift-codes", "claim")
