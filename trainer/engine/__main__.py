from trainer.engine.engine import main

if __name__ == "__main__":
    main()
