"""python-telegram-bot: what arrives is kept until it has been answered, and then gone."""

import pytest

pytest.importorskip("telegram.ext", reason="needs python-telegram-bot")

from channels import assert_nothing_is_left, play, recipe, sample
from mediakeep import open_store
from mediakeep.aio import AsyncMediaStore
from standins.telegram import TOKEN, Telegram

agent = recipe("agent")
bot = recipe("telegram_bot")


@pytest.fixture
def telegram():
    with Telegram() as standin:
        yield standin


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "store"


def test_a_photo_is_answered_and_then_nothing_is_left(telegram, folder):
    async def story():
        async with AsyncMediaStore(open_store(folder, fsync=False)) as store:
            async with bot.polling(agent.Agent(store), TOKEN, telegram.url):
                telegram.give({"photo": telegram.photo(sample("photo.jpg")), "caption": "the lake"})
                await telegram.until(lambda: telegram.sent)
            assert_nothing_is_left(store.sync, folder)
        (sent,) = telegram.sent
        assert sent.method == "sendPhoto", sent
        assert "the lake" in sent.says

    play(story)
